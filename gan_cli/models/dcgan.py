"""DCGAN (Radford et al., 1511.06434): strided convolutions down, transposed convolutions up."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from gan_cli.models.layers import build_normalization, with_spectral

BASES = (4, 7)  # side of the coarsest map; every level doubles it
MOST_TIMES_WIDER = 8  # the paper's widest layer has 8 times the channels of its narrowest


def levels_of(side: int) -> tuple[int, int]:
    """`side` as (base, levels), side = base * 2**levels with base 4 or 7; ValueError if there are none."""
    for base in BASES:
        levels = (side // base).bit_length() - 1
        if levels > 0 and base * 2**levels == side:
            return base, levels
    raise ValueError(f"{side} is not 4 or 7 times a power of two")


def widths_of(base_channels: int, levels: int) -> list[int]:
    """Channels at each level, from the finest to the coarsest map."""
    return [base_channels * min(2**level, MOST_TIMES_WIDER) for level in range(levels)]


class DCGANGenerator(nn.Module):
    """Latents `[N, latent_dim]` to images `[N, C, H, W]` in [-1, 1], H = W = 4 or 7 times a power of two.

    The narrowest layer has `base_channels`; each coarser one twice as many, up to 8 times.
    """

    def __init__(self, sample_shape: tuple[int, ...], latent_dim: int, base_channels: int, normalization: str) -> None:
        super().__init__()
        channels, side, _ = sample_shape
        base, levels = levels_of(side)
        widths = widths_of(base_channels, levels)[::-1]
        self.latent_dim = latent_dim
        self.base_shape = (widths[0], base, base)
        self.project = with_spectral(nn.Linear(latent_dim, widths[0] * base * base), normalization)
        layers: list[nn.Module] = [build_normalization(normalization, widths[0], image=True), nn.ReLU()]
        for wide, narrow in pairwise(widths):
            layers += [
                with_spectral(nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1), normalization),
                build_normalization(normalization, narrow, image=True),
                nn.ReLU(),
            ]
        layers += [nn.ConvTranspose2d(widths[-1], channels, 4, stride=2, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.layers(self.project(latent).unflatten(1, self.base_shape))


class DCGANDiscriminator(nn.Module):
    """Images `[N, C, H, W]` in [-1, 1], H = W = 4 or 7 times a power of two, to logits `[N]`.

    As in the paper the first layer is not normalized.
    """

    def __init__(self, sample_shape: tuple[int, ...], base_channels: int, normalization: str) -> None:
        super().__init__()
        channels, side, _ = sample_shape
        base, levels = levels_of(side)
        widths = widths_of(base_channels, levels)
        layers: list[nn.Module] = [
            with_spectral(nn.Conv2d(channels, widths[0], 4, stride=2, padding=1), normalization),
            nn.LeakyReLU(0.2),
        ]
        for narrow, wide in pairwise(widths):
            layers += [
                with_spectral(nn.Conv2d(narrow, wide, 4, stride=2, padding=1), normalization),
                build_normalization(normalization, wide, image=True),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers)
        self.score = with_spectral(nn.Linear(widths[-1] * base * base, 1), normalization)

    def forward(self, sample: Tensor, condition: Tensor | None = None) -> Tensor:
        return torch.squeeze(self.score(self.layers(sample).flatten(1)), 1)
