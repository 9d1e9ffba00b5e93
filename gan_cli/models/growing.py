"""Networks that grow in the course of a run (progressive growing, Karras et al., 1710.10196, section 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from gan_cli.config.options.image_sizes import downsampling_levels, padded_size
from gan_cli.models.layers import center_crop


class GrowingNetwork(nn.Module):
    """Base class of networks with levels of resolution, of which the coarsest ones are in use.

    A subclass calls `start_growth` in its `__init__`. The state is one number, the buffer `growth`, from 0 to `levels`:
    at a whole number k, the images have the sides of level k, and above k - 1 level k is fading in, with the weight
    growth - (k - 1). Inputs and outputs have the full size at all times.
    """

    growth: Tensor  # buffer `[]`, float32
    level: int  # the finest level in use
    fading: bool  # whether that level is fading in

    def start_growth(self, sides: Sequence[int], *, grow: bool) -> None:
        """Adds the buffer. The network begins at its coarsest level, or is fully grown unless `grow`."""
        self.grows, self.sides = grow, [*sides]
        self.inner_sides = padded_size(*sides)
        self.base_height, self.base_width, self.levels = downsampling_levels(*self.inner_sides)
        start = 0 if grow else self.levels
        self.register_buffer("growth", torch.tensor(float(start)))
        self.level, self.fading = start, False
        self.register_load_state_dict_post_hook(_read_growth)

    def set_growth(self, growth: float) -> None:
        """Sets `growth`, rounded to float32."""
        rounded = torch.tensor(growth, dtype=torch.float32).item()
        self.growth.fill_(rounded)
        self.level, self.fading = math.ceil(rounded), rounded < math.ceil(rounded)

    @property
    def pixel_side(self) -> int:
        """The side of a pixel of the finest level in use, in pixels of the samples."""
        return 2 ** (self.levels - self.level)

    def mix(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Returns coarse + w (fine - coarse), w the weight of the level that is fading in."""
        return coarse + (self.growth - (self.level - 1)) * (fine - coarse)

    def to_level(self, images: Tensor) -> Tensor:
        """Reduces images `[N, C, H, W]` of full size to the sides of the finest level in use, by averaging."""
        factor = 2 ** (self.levels - self.level)
        images = _replicate_edges(images, self.inner_sides)
        return avg_pool2d(images, factor) if factor > 1 else images

    def to_full_size(self, images: Tensor) -> Tensor:
        """Enlarges images of the finest level in use by repeating pixels, and crops them to the sides of samples."""
        return center_crop(repeat_pixels(images, 2 ** (self.levels - self.level)), self.sides)

    def fade(self, samples: Tensor) -> Tensor:
        """Returns real samples with the detail that the level in use has, of full size, as the authors' code does.

        While a level is fading in, they are mixed with those of the next coarser level.
        """
        if self.level == self.levels and not self.fading:
            return samples
        images = self.to_level(samples)
        if self.fading:
            images = self.mix(repeat_pixels(avg_pool2d(images, 2), 2), images)
        return self.to_full_size(images)


def repeat_pixels(images: Tensor, factor: int) -> Tensor:
    """Enlarges images `[N, C, H, W]` to `factor` times their sides by repeating pixels."""
    return interpolate(images, scale_factor=factor) if factor > 1 else images


def _replicate_edges(images: Tensor, sides: Sequence[int]) -> Tensor:
    """Pads images to `sides`, half on each end, with the pixels of their edges.

    Made of concatenations, whose derivative is deterministic on every device.
    """
    for dim, target in ((2, sides[0]), (3, sides[1])):
        missing, size = target - images.shape[dim], [-1] * images.ndim
        before, after = missing // 2, missing - missing // 2
        first, last = images.narrow(dim, 0, 1), images.narrow(dim, images.shape[dim] - 1, 1)
        parts = [(first, before), (images, images.shape[dim]), (last, after)]
        if missing:
            images = torch.cat(
                [part.expand([*size[:dim], count, *size[dim + 1 :]]) for part, count in parts if count], dim
            )
    return images


def _read_growth(network: GrowingNetwork, incompatible: Any) -> None:
    """Brings `level` and `fading` in line with a buffer that was loaded."""
    if not network.growth.is_meta:
        network.set_growth(network.growth.item())
