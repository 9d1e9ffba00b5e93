"""Crops and resizes batches of uint8 images to one size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

CHUNK = 1000


def crop_box(height: int, width: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Returns (top, left, height, width) of the largest centre crop with the proportions of `size`."""
    target_height, target_width = size
    cut_height = min(height, max(1, round(width * target_height / target_width)))
    cut_width = min(width, max(1, round(height * target_width / target_height)))
    return (height - cut_height) // 2, (width - cut_width) // 2, cut_height, cut_width


def crop_and_resize_batch(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Crops uint8 `[N, C, h, w]` to the proportions of `size` and resizes it, anti-aliased: uint8 `[N, C, H, W]`."""
    if images.shape[-2:] == size:
        return images
    top, left, height, width = crop_box(images.shape[-2], images.shape[-1], size)
    cut = images[..., top : top + height, left : left + width]
    fitted = torch.empty(*cut.shape[:2], *size, dtype=torch.uint8)
    for target, chunk in zip(fitted.split(CHUNK), cut.split(CHUNK), strict=True):
        resized = interpolate(chunk.float(), size, mode="bilinear", antialias=True)
        target.copy_(resized.round_().clamp_(0, 255))
    return fitted
