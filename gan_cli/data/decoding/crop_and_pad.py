"""Fits an image to a size: crops it, pads it, or stretches it to the proportions of the size."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from PIL import Image

from gan_cli.config.options.datasets import CROP
from gan_cli.data.decoding.resize import crop_box

PAD, STRETCH = "pad", "stretch"


class Fit(NamedTuple):
    """How an image is fitted to a size. Boxes are (left, top, width, height) in pixels."""

    box: tuple[int, int, int, int]  # the part of the image that is used
    inner: tuple[int, int, int, int]  # the part of the result that this part fills
    share: float  # 0 to 1: of the image that is cropped, of the result that is padding, or change of the proportions

    @property
    def shrunk(self) -> bool:
        return self.box[2] > self.inner[2] or self.box[3] > self.inner[3]

    @property
    def enlarged(self) -> bool:
        return self.box[2] < self.inner[2] or self.box[3] < self.inner[3]


def compute_fit(width: int, height: int, size: tuple[int, int], how: str) -> Fit:
    """Returns how an image is fitted to `size`, (height, width). `how` is `crop`, `pad` or `stretch`."""
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


def min_decode_size(width: int, height: int, size: tuple[int, int], how: str) -> tuple[int, int]:
    """Returns the (width, height) to decode at: the used part has twice the width and height of the result."""
    fit = compute_fit(width, height, size, how)
    return math.ceil(2 * fit.inner[2] * width / fit.box[2]), math.ceil(2 * fit.inner[3] * height / fit.box[3])


def crop_and_resize(image: Image.Image, fit: Fit) -> np.ndarray:
    """Returns the used part of the image, resized, uint8 `[h, w]` or `[h, w, C]`, without padding."""
    left, top, width, height = fit.box
    box = (left, top, left + width, top + height)
    # Pillow premultiplies alpha, so that the colours of transparent pixels do not mix into others.
    return np.array(image.resize(fit.inner[2:], Image.Resampling.LANCZOS, box=box))


def pad_to_size(pixels: np.ndarray, fit: Fit, size: tuple[int, int], padding: tuple[int, ...]) -> np.ndarray:
    """Pads `[h, w, C]` to `[H, W, C]`. `padding` holds the value of each channel."""
    if pixels.shape[:2] == size:
        return pixels
    left, top, width, height = fit.inner
    canvas = np.empty((*size, pixels.shape[2]), np.uint8)
    canvas[:] = padding
    canvas[top : top + height, left : left + width] = pixels
    return canvas
