"""Residual networks of WGAN-GP (1704.00028) and SNGAN (1802.05957), with SAGAN's attention (1805.08318) if wanted.

At 32 x 32 with `max_multiplier=1` they have the blocks and widths of those papers' CIFAR-10 networks; a larger image
has a level more for each doubling of its side.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, relu

from gan_cli.config.image_sizes import levels_of, padded
from gan_cli.models.conditioning import UNCONDITIONAL, Chain, Conditional, Conditions, beside, modulated
from gan_cli.models.layers import Discriminator, build_normalization, cut_to, padded_to, weighted, widths_of

RESIDUAL_GAIN = math.sqrt(2)  # of the convolutions on a block's main path, as in SNGAN's code


class SelfAttention(nn.Module):
    """Each place of a map `[N, C, H, W]` looks at all others; starts as the identity (1805.08318, section 3).

    Keys and values are pooled by two, as in BigGAN's code, where both sides are even.
    """

    def __init__(self, channels: int, *, initialization: str, normalization: str) -> None:
        super().__init__()
        key_channels, value_channels = max(channels // 8, 1), max(channels // 2, 1)

        def project(inputs: int, outputs: int) -> nn.Module:
            layer = nn.Conv2d(inputs, outputs, 1, bias=False)
            return weighted(layer, initialization=initialization, normalization=normalization)

        self.query, self.key = project(channels, key_channels), project(channels, key_channels)
        self.value, self.output = project(channels, value_channels), project(value_channels, channels)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, maps: Tensor) -> Tensor:
        query, key, value = self.query(maps), self.key(maps), self.value(maps)
        if maps.shape[-2] % 2 == 0 and maps.shape[-1] % 2 == 0:
            key, value = max_pool2d(key, 2), max_pool2d(value, 2)
        weight = torch.softmax(query.flatten(2).mT @ key.flatten(2), dim=-1)  # [N, places, pooled places]
        seen = (value.flatten(2) @ weight.mT).unflatten(2, maps.shape[-2:])
        return maps + self.gamma * self.output(seen)


class _Block(Conditional):
    """A residual block: what its main path and its shortcut make is added.

    `resample` is 2 to double the side, 0.5 to halve it, 1 to keep it. The first block of a discriminator has neither
    activation nor normalization before its first convolution.
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
        conditions: Conditions = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        self.resample, self.first = resample, first

        def convolve(inputs: int, outputs: int, kernel: int, gain: float) -> nn.Module:
            layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
            return weighted(layer, initialization=initialization, gain=gain, normalization=normalization)

        def normalize(channels: int) -> nn.Module:
            return modulated(build_normalization(normalization, channels, image=True), channels, conditions)

        # a map is widened by the last convolution on the way down and by the first on the way up
        hidden = outputs if first or resample > 1 else inputs
        self.before_first = nn.Identity() if first else normalize(inputs)
        self.convolution1 = convolve(inputs, hidden, 3, RESIDUAL_GAIN)
        self.before_second = normalize(hidden)
        self.convolution2 = convolve(hidden, outputs, 3, RESIDUAL_GAIN)
        changes = inputs != outputs or resample != 1
        self.shortcut = convolve(inputs, outputs, 1, 1.0) if changes else nn.Identity()

    def forward(self, maps: Tensor, condition: Tensor | None = None) -> Tensor:
        main = maps if self.first else relu(_normalized(self.before_first, maps, condition))
        shortcut = maps
        if self.resample > 1:
            main, shortcut = _double(main), _double(shortcut)
        if self.resample < 1 and self.first:
            shortcut = avg_pool2d(shortcut, 2)  # before its convolution, which is then cheaper and means the same
        main = self.convolution2(relu(_normalized(self.before_second, self.convolution1(main), condition)))
        shortcut = self.shortcut(shortcut)
        if self.resample < 1:
            main = avg_pool2d(main, 2)
            shortcut = shortcut if self.first else avg_pool2d(shortcut, 2)
        return main + shortcut


def _normalized(normalization: nn.Module, maps: Tensor, condition: Tensor | None) -> Tensor:
    return normalization(maps, condition) if isinstance(normalization, Conditional) else normalization(maps)


def _double(maps: Tensor) -> Tensor:
    return interpolate(maps, scale_factor=2, mode="nearest")


class ResNetGenerator(nn.Module):
    """Latents `[N, latent_dim]` to images `[N, C, H, W]` in [-1, 1], of any sides from 4 on."""

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        latent_dim: int,
        base_channels: int,
        max_multiplier: int,
        normalization: str,
        attention: int | None = None,
        initialization: str = "default",
        conditions: Conditions = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        self.entry = beside(conditions, ("concat", "acgan"))
        channels, *self.sides = sample_shape
        base_height, base_width, levels = levels_of(*padded(*self.sides))
        widths = widths_of(base_channels, levels, max_multiplier)[::-1]
        widths = [widths[0], *widths]  # the coarsest map has the width of the first block's output
        attend = {"initialization": initialization, "normalization": normalization}
        self.base_shape = (widths[0], base_height, base_width)
        self.project = weighted(
            nn.Linear(latent_dim + self.entry.added, widths[0] * base_height * base_width),
            initialization=initialization,
            normalization=normalization,
        )
        layers: list[nn.Module] = [SelfAttention(widths[0], **attend)] if attention == base_height else []
        for level, (wide, narrow) in enumerate(pairwise(widths), start=1):
            layers.append(_Block(wide, narrow, 2, normalization, initialization, conditions=conditions))
            if attention == base_height << level:
                layers.append(SelfAttention(narrow, **attend))
        last = weighted(nn.Conv2d(widths[-1], channels, 3, padding=1), initialization=initialization)
        normalize = modulated(build_normalization(normalization, widths[-1], image=True), widths[-1], conditions)
        self.layers = Chain(*layers, normalize, nn.ReLU(), last, nn.Tanh())

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        maps = self.project(self.entry(latent, condition)).unflatten(1, self.base_shape)
        return cut_to(self.layers(maps, condition), self.sides)


class ResNetDiscriminator(Discriminator):
    """Images `[N, C, H, W]` in [-1, 1], of any sides from 4 on, to logits `[N]`.

    Halves all but the last level, then two blocks keep the size; the maps are pooled over space by sum (SNGAN) or mean
    (WGAN-GP) and scored.
    """

    mixes_by_known_layers = True

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
        conditions: Conditions = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        self.entry = beside(conditions, ("concat",))
        channels, *sides = sample_shape
        self.inner_sides = padded(*sides)
        _, _, levels = levels_of(*self.inner_sides)
        widths = [channels + self.entry.added, *widths_of(base_channels, max(levels - 1, 1), max_multiplier)]
        attend = {"initialization": initialization, "normalization": normalization}
        self.mean = pooling == "mean"
        layers: list[nn.Module] = []
        for level, (narrow, wide) in enumerate(pairwise(widths), start=1):
            layers.append(_Block(narrow, wide, 0.5, normalization, initialization, first=level == 1))
            if attention == self.inner_sides[0] >> level:
                layers.append(SelfAttention(wide, **attend))
        layers += [_Block(widths[-1], widths[-1], 1, normalization, initialization) for _ in range(2)]
        self.layers = nn.Sequential(*layers, nn.ReLU())
        self.add_head(
            widths[-1],
            minibatch=minibatch,
            initialization=initialization,
            normalization=normalization,
            conditions=conditions,
        )

    def features(self, sample: Tensor, condition: Tensor | None) -> Tensor:
        maps = self.layers(self.entry(padded_to(sample, self.inner_sides), condition))
        return maps.mean((2, 3)) if self.mean else maps.sum((2, 3))
