"""Networks of progressive growing (PGGAN, Karras et al., 1710.10196, appendix A).

They are built whole. Levels that are not in use yet are skipped, see `GrowingNetwork`; without growth these are plain
networks with two convolutions at each resolution.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from gan_cli.models.conditioning import CONCATENATED, UNCONDITIONAL, ConditioningSpec, concat_condition
from gan_cli.models.growing import GrowingNetwork, repeat_pixels
from gan_cli.models.layers import (
    Discriminator,
    MinibatchStddev,
    PixelNorm,
    channels_per_level,
    flatten_maps,
    init_layer,
)
from gan_cli.tasks.condition import Condition

GAIN = math.sqrt(2)  # of layers that leaky ReLU follows
FIRST_GAIN = GAIN / 4  # of G's first layer, as in the authors' code


def _convolution(inputs: int, outputs: int, kernel: int | tuple[int, int] = 3, padding: int = 1) -> list[nn.Module]:
    """Returns an equalized convolution and leaky ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=padding)
    return [init_layer(convolution, initialization="equalized", gain=GAIN), nn.LeakyReLU(0.2)]


class PGGANGenerator(GrowingNetwork):
    """Maps latents `[N, latent_dim]` to images `[N, C, H, W]`, whose sides are 4 or more. Values are not bounded.

    Each pixel's features are normalized after each convolution, and so is the latent. The condition or its embedding is
    concatenated to the latent in every mode. The finest level has `base_channels` channels; each coarser one has twice
    as many, up to `max_multiplier` times `base_channels`.
    """

    normalizes_latent = True

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        latent_dim: int,
        base_channels: int,
        max_multiplier: int,
        grow: bool = False,
        conditions: ConditioningSpec = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        channels, *sides = sample_shape
        self.start_growth(sides, grow=grow)
        if conditions.mode == "projection":
            conditions = conditions._replace(embedding_dim=latent_dim)
        self.entry = concat_condition(conditions, (*CONCATENATED, "projection"))
        widths = channels_per_level(base_channels, self.levels + 1, max_multiplier)[::-1]  # coarsest first
        base = (widths[0], self.base_height, self.base_width)
        first = nn.Linear(latent_dim + self.entry.added_features, math.prod(base))
        self.project = nn.Sequential(
            PixelNorm(), init_layer(first, initialization="equalized", gain=FIRST_GAIN), nn.Unflatten(1, base)
        )
        self.blocks = nn.ModuleList(
            [nn.Sequential(nn.LeakyReLU(0.2), PixelNorm(), *_convolution(widths[0], widths[0]), PixelNorm())]
        )
        for wide, narrow in pairwise(widths):
            self.blocks.append(
                nn.Sequential(
                    nn.Upsample(scale_factor=2),
                    *(*_convolution(wide, narrow), PixelNorm()),
                    *(*_convolution(narrow, narrow), PixelNorm()),
                )
            )
        self.to_image = nn.ModuleList(
            init_layer(nn.Conv2d(width, channels, 1), initialization="equalized") for width in widths
        )

    def forward(self, latent: Tensor, condition: Condition | None = None) -> Tensor:
        maps = self.project(self.entry(latent, condition)).contiguous(memory_format=torch.channels_last)
        coarse = maps
        for block in self.blocks[: self.level + 1]:
            coarse, maps = maps, block(maps)
        image = self.to_image[self.level](maps)
        if self.fading:
            image = self.mix(repeat_pixels(self.to_image[self.level - 1](coarse), 2), image)
        return self.to_full_size(image)


class PGGANDiscriminator(Discriminator, GrowingNetwork):
    """Maps images `[N, C, H, W]`, whose sides are 4 or more, to logits `[N]`. Mirrors the generator.

    Images are reduced to the level in use. With `minibatch=stddev`, the standard deviation is a constant feature map
    before the last convolution; other statistics of the batch are features of the last layer.
    """

    batch_dependence_is_declared = True

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        base_channels: int,
        max_multiplier: int,
        grow: bool = False,
        normalization: str = "none",
        minibatch: str = "stddev",
        conditions: ConditioningSpec = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        channels, *sides = sample_shape
        self.start_growth(sides, grow=grow)
        self.entry = concat_condition(conditions, ("concat",))
        widths = channels_per_level(base_channels, self.levels + 1, max_multiplier)[::-1]  # coarsest first
        self.from_image = nn.ModuleList(
            nn.Sequential(*_convolution(channels + self.entry.added_features, width, 1, 0)) for width in widths
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(*_convolution(narrow, narrow), *_convolution(narrow, wide), nn.AvgPool2d(2))
            for wide, narrow in pairwise(widths)
        )
        statistics: list[Any] = [MinibatchStddev()] if minibatch == "stddev" else []
        base = self.base_height, self.base_width
        self.last = nn.Sequential(
            *statistics,
            *_convolution(widths[0] + len(statistics), widths[0]),
            *_convolution(widths[0], widths[0], base, 0),
        )
        settings: Any = {"initialization": "equalized", "normalization": normalization, "conditions": conditions}
        self.add_head(widths[0], minibatch="none" if statistics else minibatch, **settings)

    def features(self, sample: Tensor, condition: Condition | None) -> Tensor:
        image = self.entry(self.to_level(sample), condition)
        maps = self.from_image[self.level](image)
        for level in range(self.level, 0, -1):
            maps = self.blocks[level - 1](maps)
            if self.fading and level == self.level:
                maps = self.mix(self.from_image[level - 1](avg_pool2d(image, 2)), maps)
        return flatten_maps(self.last(maps))
