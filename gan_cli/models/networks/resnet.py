"""Residual networks of WGAN-GP (1704.00028) and SNGAN (1802.05957), with optional attention of SAGAN (1805.08318).

For images of 32 x 32 and `max_multiplier=1`, the networks have the blocks and widths of the papers' CIFAR-10 networks.
Each doubling of the image's sides adds one level.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, relu

from gan_cli.config.options.image_sizes import downsampling_levels, padded_size
from gan_cli.models.conditioning import (
    CONCATENATED,
    UNCONDITIONAL,
    ConditionalLayer,
    ConditionalSequential,
    ConditioningSpec,
    concat_condition,
    conditional_norm,
)
from gan_cli.models.layers import (
    Discriminator,
    build_normalization,
    center_crop,
    center_pad,
    channels_per_level,
    init_layer,
)
from gan_cli.tasks.condition import Condition

RESIDUAL_GAIN = math.sqrt(2)  # of the convolutions on a block's main path, as in SNGAN's code


class SelfAttention(nn.Module):
    """Self-attention over the positions of feature maps `[N, C, H, W]` (1805.08318, section 3).

    Before training, the layer returns its input unchanged. Keys and values are max-pooled by 2 if height and width are
    even, as in BigGAN's code.
    """

    def __init__(self, channels: int, *, initialization: str, normalization: str) -> None:
        super().__init__()
        key_channels, value_channels = max(channels // 8, 1), max(channels // 2, 1)

        def project(inputs: int, outputs: int) -> nn.Module:
            layer = nn.Conv2d(inputs, outputs, 1, bias=False)
            return init_layer(layer, initialization=initialization, normalization=normalization)

        self.query, self.key = project(channels, key_channels), project(channels, key_channels)
        self.value, self.output = project(channels, value_channels), project(value_channels, channels)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, maps: Tensor) -> Tensor:
        query, key, value = self.query(maps), self.key(maps), self.value(maps)
        if maps.shape[-2] % 2 == 0 and maps.shape[-1] % 2 == 0:
            key, value = max_pool2d(key, 2), max_pool2d(value, 2)
        weight = torch.softmax(query.flatten(2).mT @ key.flatten(2), dim=-1)  # [N, positions, pooled positions]
        attended = (value.flatten(2) @ weight.mT).unflatten(2, maps.shape[-2:])
        return maps + self.gamma * self.output(attended)


class _Block(ConditionalLayer):
    """A residual block: the sum of a main path of two convolutions and a shortcut.

    `resample` is 2 to double the sides, 0.5 to halve them, 1 to keep them. The first block of a discriminator has
    neither activation nor normalization before its first convolution.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        resample: float,
        normalization: str,
        initialization: str,
        *,
        first: bool = False,
        conditions: ConditioningSpec = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        self.resample, self.first = resample, first

        def convolve(inputs: int, outputs: int, kernel: int, gain: float) -> nn.Module:
            layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
            return init_layer(layer, initialization=initialization, gain=gain, normalization=normalization)

        def normalize(channels: int) -> nn.Module:
            return conditional_norm(build_normalization(normalization, channels, image=True), channels, conditions)

        # the first convolution changes the number of channels when upsampling, the second one when downsampling
        hidden = outputs if first or resample > 1 else inputs
        self.before_first = nn.Identity() if first else normalize(inputs)
        self.convolution1 = convolve(inputs, hidden, 3, RESIDUAL_GAIN)
        self.before_second = normalize(hidden)
        self.convolution2 = convolve(hidden, outputs, 3, RESIDUAL_GAIN)
        changes = inputs != outputs or resample != 1
        self.shortcut = convolve(inputs, outputs, 1, 1.0) if changes else nn.Identity()

    def forward(self, maps: Tensor, condition: Condition | None = None) -> Tensor:
        main = maps if self.first else relu(_normalized(self.before_first, maps, condition))
        shortcut = maps
        if self.resample > 1:
            main, shortcut = (interpolate(each, scale_factor=2) for each in (main, shortcut))  # repeats pixels
        if self.resample < 1 and self.first:
            shortcut = avg_pool2d(shortcut, 2)  # pooling first gives the same result at less cost
        main = self.convolution2(relu(_normalized(self.before_second, self.convolution1(main), condition)))
        shortcut = self.shortcut(shortcut)
        if self.resample < 1:
            main = avg_pool2d(main, 2)
            shortcut = shortcut if self.first else avg_pool2d(shortcut, 2)
        return main + shortcut


def _normalized(normalization: nn.Module, maps: Tensor, condition: Condition | None) -> Tensor:
    return normalization(maps, condition) if isinstance(normalization, ConditionalLayer) else normalization(maps)


class ResNetGenerator(nn.Module):
    """Maps latents `[N, latent_dim]` to images `[N, C, H, W]` in [-1, 1], whose sides are 4 or more."""

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        latent_dim: int,
        base_channels: int,
        max_multiplier: int,
        normalization: str,
        attention: int | None = None,
        initialization: str = "default",
        conditions: ConditioningSpec = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        self.entry = concat_condition(conditions, CONCATENATED)
        channels, *self.sides = sample_shape
        base_height, base_width, levels = downsampling_levels(*padded_size(*self.sides))
        widths = channels_per_level(base_channels, levels, max_multiplier)[::-1]
        widths = [widths[0], *widths]  # the coarsest map has the width of the first block's output
        settings: Any = {"initialization": initialization, "normalization": normalization}
        self.base_shape = (widths[0], base_height, base_width)
        inputs = latent_dim + self.entry.added_features
        self.project = init_layer(nn.Linear(inputs, widths[0] * base_height * base_width), **settings)
        layers: list[nn.Module] = [SelfAttention(widths[0], **settings)] if attention == base_height else []
        for level, (wide, narrow) in enumerate(pairwise(widths), start=1):
            layers.append(_Block(wide, narrow, 2, **settings, conditions=conditions))
            if attention == base_height << level:
                layers.append(SelfAttention(narrow, **settings))
        last = init_layer(nn.Conv2d(widths[-1], channels, 3, padding=1), initialization=initialization)
        normalize = conditional_norm(build_normalization(normalization, widths[-1], image=True), widths[-1], conditions)
        self.layers = ConditionalSequential(*layers, normalize, nn.ReLU(), last, nn.Tanh())

    def forward(self, latent: Tensor, condition: Condition | None = None) -> Tensor:
        maps = self.project(self.entry(latent, condition)).unflatten(1, self.base_shape)
        return center_crop(self.layers(maps, condition), self.sides)


class ResNetDiscriminator(Discriminator):
    """Maps images `[N, C, H, W]` in [-1, 1], whose sides are 4 or more, to logits `[N]`.

    One block halves the sides at each level except the last level. Two more blocks keep the sides. Then the sum (SNGAN)
    or the mean (WGAN-GP) over all positions is computed before the last layer.
    """

    batch_dependence_is_declared = True

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        base_channels: int,
        max_multiplier: int,
        normalization: str,
        attention: int | None = None,
        pooling: str = "sum",
        initialization: str = "default",
        minibatch: str = "none",
        conditions: ConditioningSpec = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        self.entry = concat_condition(conditions, ("concat",))
        channels, *sides = sample_shape
        self.inner_sides = padded_size(*sides)
        _, _, levels = downsampling_levels(*self.inner_sides)
        widths = [
            channels + self.entry.added_features,
            *channels_per_level(base_channels, max(levels - 1, 1), max_multiplier),
        ]
        settings: Any = {"initialization": initialization, "normalization": normalization}
        self.mean_pooling = pooling == "mean"
        layers: list[nn.Module] = []
        for level, (narrow, wide) in enumerate(pairwise(widths), start=1):
            layers.append(_Block(narrow, wide, 0.5, **settings, first=level == 1))
            if attention == self.inner_sides[0] >> level:
                layers.append(SelfAttention(wide, **settings))
        layers += [_Block(widths[-1], widths[-1], 1, **settings) for _ in range(2)]
        self.layers = nn.Sequential(*layers, nn.ReLU())
        self.add_head(widths[-1], minibatch=minibatch, conditions=conditions, **settings)

    def features(self, sample: Tensor, condition: Condition | None) -> Tensor:
        maps = self.layers(self.entry(center_pad(sample, self.inner_sides), condition))
        return maps.mean((2, 3)) if self.mean_pooling else maps.sum((2, 3))
