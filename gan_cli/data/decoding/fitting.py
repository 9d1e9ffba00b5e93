"""A picture brought to a size: cut to its proportions, padded to them, or stretched."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from PIL import Image

from gan_cli.config.options.datasets import CROP
from gan_cli.data.decoding.images import crop_box

PAD, STRETCH = "pad", "stretch"


class Fit(NamedTuple):
    """Which part of a picture, (left, top, width, height), goes to which part of the result, and what that costs.

    `share` is the share of the picture that is left out, of the result that is padding, or by which the proportions
    change.
    """

    box: tuple[int, int, int, int]
    inner: tuple[int, int, int, int]
    share: float

    @property
    def enlarged(self) -> bool:
        return self.box[2] < self.inner[2] or self.box[3] < self.inner[3]


def fit_of(width: int, height: int, size: tuple[int, int], how: str) -> Fit:
    """How a picture is brought to `size`, (height, width)."""
    target_height, target_width = size
    whole, result = (0, 0, width, height), (0, 0, target_width, target_height)
    if how == CROP:
        top, left, cut_height, cut_width = crop_box(height, width, size)
        return Fit((left, top, cut_width, cut_height), result, 1 - cut_width * cut_height / (width * height))
    if how == STRETCH:
        ratio = width * target_height / (height * target_width)
        return Fit(whole, result, 1 - min(ratio, 1 / ratio))
    top, left, inner_height, inner_width = crop_box(target_height, target_width, (height, width))
    share = 1 - inner_width * inner_height / (target_width * target_height)
    return Fit(whole, (left, top, inner_width, inner_height), share)


def reduction(width: int, height: int, size: tuple[int, int], how: str) -> tuple[int, int]:
    """The least (width, height) at which a picture may be decoded: what is kept has twice the result's size."""
    fit = fit_of(width, height, size, how)
    return math.ceil(2 * fit.inner[2] * width / fit.box[2]), math.ceil(2 * fit.inner[3] * height / fit.box[3])


def resized(image: Image.Image, fit: Fit) -> np.ndarray:
    """The part in its place as uint8 `[h, w]` or `[h, w, C]`, without the padding.

    Pillow resizes RGBA with its colours multiplied by their opacity, so hidden colours do not bleed.
    """
    left, top, width, height = fit.box
    box = (left, top, left + width, top + height)
    return np.array(image.resize(fit.inner[2:], Image.Resampling.LANCZOS, box=box))


def placed(pixels: np.ndarray, fit: Fit, size: tuple[int, int], padding: tuple[int, ...]) -> np.ndarray:
    """`[h, w, C]` on a ground of the colour `padding`, `[H, W, C]`."""
    if pixels.shape[:2] == size:
        return pixels
    left, top, width, height = fit.inner
    canvas = np.empty((*size, pixels.shape[2]), np.uint8)
    canvas[:] = padding
    canvas[top : top + height, left : left + width] = pixels
    return canvas
