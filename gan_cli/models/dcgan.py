"""DCGAN (Radford et al., 1511.06434): strided convolutions down, transposed convolutions up."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from gan_cli.config.image_sizes import levels_of, padded
from gan_cli.models.conditioning import UNCONDITIONAL, Chain, Conditions, beside, modulated
from gan_cli.models.layers import (
    Discriminator,
    build_dropout,
    build_normalization,
    cut_to,
    flattened,
    padded_to,
    weighted,
    widths_of,
)


class DCGANGenerator(nn.Module):
    """Latents `[N, latent_dim]` to images `[N, C, H, W]` in [-1, 1], of any sides from 4 on.

    The narrowest layer has `base_channels`; each coarser one twice as many, up to 8 times.
    """

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        latent_dim: int,
        base_channels: int,
        normalization: str,
        initialization: str = "default",
        dropout: float = 0.0,
        conditions: Conditions = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        self.entry = beside(conditions, ("concat", "acgan"))
        channels, *self.sides = sample_shape
        base_height, base_width, levels = levels_of(*padded(*self.sides))
        widths = widths_of(base_channels, levels)[::-1]
        self.base_shape = (widths[0], base_height, base_width)
        self.project = weighted(
            nn.Linear(latent_dim + self.entry.added, widths[0] * base_height * base_width),
            initialization=initialization,
            normalization=normalization,
        )
        layers: list[nn.Module] = [
            modulated(build_normalization(normalization, widths[0], image=True), widths[0], conditions),
            nn.ReLU(inplace=True),
            *build_dropout(dropout),
        ]
        for wide, narrow in pairwise(widths):
            up = nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1)
            layers += [
                weighted(up, initialization=initialization, normalization=normalization),
                modulated(build_normalization(normalization, narrow, image=True), narrow, conditions),
                nn.ReLU(inplace=True),
                *build_dropout(dropout),
            ]
        last = nn.ConvTranspose2d(widths[-1], channels, 4, stride=2, padding=1)
        layers += [weighted(last, initialization=initialization), nn.Tanh()]
        self.layers = Chain(*layers)

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        maps = self.project(self.entry(latent, condition)).unflatten(1, self.base_shape)
        images = self.layers(maps.contiguous(memory_format=torch.channels_last), condition)
        return cut_to(images, self.sides)


class DCGANDiscriminator(Discriminator):
    """Images `[N, C, H, W]` in [-1, 1], of any sides from 4 on, to logits `[N]`.

    As in the paper the first layer is not normalized.
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
        first = nn.Conv2d(channels + self.entry.added, widths[0], 4, stride=2, padding=1)
        layers: list[nn.Module] = [
            weighted(first, initialization=initialization, normalization=normalization),
            nn.LeakyReLU(0.2, inplace=True),
            *build_dropout(dropout),
        ]
        for narrow, wide in pairwise(widths):
            down = nn.Conv2d(narrow, wide, 4, stride=2, padding=1)
            layers += [
                weighted(down, initialization=initialization, normalization=normalization),
                build_normalization(normalization, wide, image=True),
                nn.LeakyReLU(0.2, inplace=True),
                *build_dropout(dropout),
            ]
        self.layers = nn.Sequential(*layers)
        self.add_head(
            widths[-1] * base_height * base_width,
            minibatch=minibatch,
            initialization=initialization,
            normalization=normalization,
            conditions=conditions,
        )

    def features(self, sample: Tensor, condition: Tensor | None) -> Tensor:
        return flattened(self.layers(self.entry(padded_to(sample, self.inner_sides), condition)))
