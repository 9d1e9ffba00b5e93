"""Rows of an image grid that show what a generator was given and what it made of it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from gan_cli.data.dataset import to_uint8
from gan_cli.tasks.condition import Condition, image_parts


def draw_input_rows(condition: Condition, outputs: Tensor, truth: Tensor | None) -> tuple[Tensor, list[int]]:
    """Returns uint8 images `[R * columns, C, H, W]` for `draw_grid`, and the length of each of the R rows.

    A row has the images of the condition (the mask is white where the generator paints), then the outputs for it, then
    the true image, if it is known. `outputs` are `[R, n, C, H, W]` and `truth` `[R, C, H, W]`, in [-1, 1].
    """
    shape = outputs.shape[2:]
    given = [_fitted(part, shape) for part in image_parts(condition._replace(mask=None))]
    if condition.mask is not None:
        given.append(_fitted(condition.mask * 2 - 1, shape))
    columns = [*given, *outputs.unbind(1), *([] if truth is None else [truth])]
    return to_uint8(torch.stack(columns, 1).flatten(0, 1)), [len(columns)] * len(outputs)


def _fitted(images: Tensor, shape: torch.Size) -> Tensor:
    """Returns images in the sides and channels of samples: enlarged by whole pixels, grey in place of colours."""
    if images.shape[2:] != shape[1:]:
        images = interpolate(images, shape[1:], mode="nearest")
    if images.shape[1] != shape[0]:
        images = images.mean(1, keepdim=True).expand(-1, shape[0], -1, -1)
    return images
