"""Convolutions on small maps alone, which CPUs are fast at: pixels are folded into channels (1609.05158)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from gan_cli.config.image_sizes import levels_of, padded
from gan_cli.models.conditioning import UNCONDITIONAL, Chain, Conditions, beside, modulated
from gan_cli.models.layers import (
    DCGAN_MULTIPLIER,
    Discriminator,
    binomial_blur,
    build_dropout,
    build_normalization,
    cut_to,
    padded_to,
    weighted,
    widths_of,
)

MOST_FOLDED = 2  # levels that G's last convolution unfolds at once: 4 x 4 pixels of an image from each place of a map


class SubpixelGenerator(nn.Module):
    """Latents `[N, latent_dim]` to images `[N, C, H, W]` in [-1, 1], of any sides from 4 on.

    The finest map has a quarter of the image's sides and `base_channels`; each coarser one twice as many, up to
    `max_multiplier` times. With output `unfolded` one convolution makes each 4 x 4 pixels from a place of that map.
    With `blurred` it is doubled once more, with half as many channels, and each 2 x 2 pixels made from a place of it
    are blurred, so that they have no pattern of their own; at first each doubling repeats a value (1707.02937).
    """

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        latent_dim: int,
        base_channels: int,
        normalization: str,
        max_multiplier: int = DCGAN_MULTIPLIER,
        initialization: str = "default",
        dropout: float = 0.0,
        output: str = "unfolded",
        conditions: Conditions = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        self.entry = beside(conditions, ("concat", "acgan"))
        channels, *self.sides = sample_shape
        base_height, base_width, levels = levels_of(*padded(*self.sides))
        folded = min(levels, MOST_FOLDED)
        widths = widths_of(base_channels, levels - folded + 1, max_multiplier)[::-1]
        first = max(1, widths[0] // 2)
        self.base_shape = (base_height, base_width, first)
        settings: Any = {"initialization": initialization, "normalization": normalization}

        def finished(count: int) -> list[nn.Module]:
            normalize = build_normalization(normalization, count, image=True)
            return [modulated(normalize, count, conditions), nn.ReLU(inplace=True), *build_dropout(dropout)]

        def convolution(inputs: int, outputs: int) -> nn.Module:
            return weighted(nn.Conv2d(inputs, outputs, 3, padding=1), **settings)

        self.mapping = nn.Sequential(nn.Linear(latent_dim + self.entry.added, latent_dim), nn.LeakyReLU(0.2))
        self.project = weighted(nn.Linear(latent_dim, first * base_height * base_width), **settings)
        layers = [*finished(first), convolution(first, widths[0]), *finished(widths[0])]
        for wide, narrow in pairwise(widths):
            layers += [convolution(wide, 4 * narrow), nn.PixelShuffle(2), *finished(narrow)]
        if output == "blurred" and folded > 1:
            half = max(1, widths[-1] // 2)
            layers += [convolution(widths[-1], 4 * half), nn.PixelShuffle(2), *finished(half)]
            finest, folded = half, folded - 1
        else:
            layers += [convolution(widths[-1], widths[-1]), *finished(widths[-1])]
            finest = widths[-1]
        last = nn.Conv2d(finest, channels * 4**folded, 3, padding=1)
        layers += [weighted(last, initialization=initialization), nn.PixelShuffle(2**folded)]
        if output == "blurred":
            _repeat_subpixels(layers)
            layers.append(binomial_blur())
        self.layers = Chain(*layers, nn.Tanh())

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        maps = self.project(self.mapping(self.entry(latent, condition))).unflatten(1, self.base_shape)
        images = self.layers(maps.permute(0, 3, 1, 2), condition)  # channels side by side, as they are fastest
        return cut_to(images, self.sides)


@torch.no_grad()
def _repeat_subpixels(layers: list[nn.Module]) -> None:
    """Gives all channels that a PixelShuffle puts side by side the weights of the first of them (1707.02937)."""
    for convolution, shuffle in pairwise(layers):
        if isinstance(shuffle, nn.PixelShuffle):
            for tensor in convolution.parameters():
                count = shuffle.upscale_factor**2
                tensor.copy_(tensor[::count].repeat_interleave(count, 0))


class SubpixelDiscriminator(Discriminator):
    """Images `[N, C, H, W]` in [-1, 1], of any sides from 4 on, to logits `[N]`.

    Each 2 x 2 pixels are folded into one place of a map with `base_channels`; maps are halved from there on. The first
    layer is not normalized.
    """

    mixes_by_known_layers = True

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        base_channels: int,
        normalization: str,
        initialization: str = "default",
        dropout: float = 0.0,
        minibatch: str = "none",
        conditions: Conditions = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        self.entry = beside(conditions, ("concat",))
        channels, *sides = sample_shape
        self.inner_sides = padded(*sides)
        base_height, base_width, levels = levels_of(*self.inner_sides)
        widths = widths_of(base_channels, levels)
        settings: Any = {"initialization": initialization, "normalization": normalization}
        first = nn.Conv2d(4 * (channels + self.entry.added), widths[0], 3, padding=1)
        layers: list[nn.Module] = [
            nn.PixelUnshuffle(2),
            weighted(first, **settings),
            nn.LeakyReLU(0.2, inplace=True),
            *build_dropout(dropout),
        ]
        for narrow, wide in pairwise(widths):
            layers += [
                weighted(nn.Conv2d(narrow, wide, 3, stride=2, padding=1), **settings),
                build_normalization(normalization, wide, image=True),
                nn.LeakyReLU(0.2, inplace=True),
                *build_dropout(dropout),
            ]
        self.layers = nn.Sequential(*layers)
        features = widths[-1] * base_height * base_width
        self.add_head(features, minibatch=minibatch, conditions=conditions, **settings)

    def features(self, sample: Tensor, condition: Tensor | None) -> Tensor:
        return self.layers(self.entry(padded_to(sample, self.inner_sides), condition)).permute(0, 2, 3, 1).flatten(1)
