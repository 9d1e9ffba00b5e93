"""Edges of images, as source images for translation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from gan_cli.device import to_device


def sobel_edges(images: Tensor) -> Tensor:
    """Returns the edges of images `[N, C, H, W]` in [-1, 1] as `[N, 1, H, W]`: -1 in even areas, 1 at clear edges.

    The value is the length of the Sobel gradient of the mean channel in [0, 1], cut off at 1: a step of a quarter of
    the range from black to white, or more, is 1, as in a line drawing. Images are continued by their outermost pixels.
    """
    grey = images[:, :3].mean(1, keepdim=True).add(1).div(2)
    across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    kernels = to_device(torch.stack([across, across.T]).unsqueeze(1), images.device)
    gradient = conv2d(pad(grey, (1, 1, 1, 1), mode="replicate"), kernels)
    return gradient.norm(dim=1, keepdim=True).clamp(0, 1).mul(2).sub(1)
