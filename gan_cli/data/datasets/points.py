"""2D points of a known distribution, on which mode collapse can be counted."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gan_cli.data.dataset import SEEDS, Dataset
from gan_cli.randomness import generator_for

SWISS_ROLL_SCALE = 7.5
SWISS_ROLL_EXTENT = 4.5 * math.pi / SWISS_ROLL_SCALE


def build_ring(*, size: int, modes: int, radius: float, std: float, split: str) -> Dataset:
    """Draws points float32 `[size, 2]` from `modes` equally frequent Gaussians around `ring_centres`."""
    labels = torch.arange(size) % modes
    points = ring_centres(modes, radius)[labels] + std * torch.randn(
        size, 2, generator=generator_for(SEEDS[split], "ring")
    )
    return Dataset(
        samples=points,
        labels=labels,
        classes=tuple(str(index) for index in range(modes)),
        source="drawn by gan-cli",
    )


def ring_centres(modes: int, radius: float) -> Tensor:
    """Returns the centres `[modes, 2]`, evenly spaced on a circle.

    The angle steps by 2 pi / modes. A well-known demo spaces 8 angles from 0 to 2 pi inclusive, which gives 7 modes.
    """
    angles = torch.arange(modes) * (2 * math.pi / modes)
    return radius * torch.stack([angles.cos(), angles.sin()], dim=1)


def build_grid(*, size: int, side: int, spacing: float, std: float, split: str) -> Dataset:
    """Draws points float32 `[size, 2]` from `side` x `side` equally frequent Gaussians around `grid_centres`."""
    labels = torch.arange(size) % (side * side)
    noise = torch.randn(size, 2, generator=generator_for(SEEDS[split], "grid"))
    return Dataset(
        samples=grid_centres(side, spacing)[labels] + std * noise,
        labels=labels,
        classes=tuple(str(index) for index in range(side * side)),
        source="drawn by gan-cli",
    )


def grid_centres(side: int, spacing: float) -> Tensor:
    """Returns the centres `[side * side, 2]` of a square grid around the origin."""
    axis = (torch.arange(side) - (side - 1) / 2) * spacing
    return torch.cartesian_prod(axis, axis)


def build_swiss_roll(*, size: int, std: float, split: str) -> Dataset:
    """Draws points float32 `[size, 2]` on a spiral: (t (cos t, sin t) + noise) / 7.5, t ~ U[1.5 pi, 4.5 pi].

    Gulrajani et al. 2017, arXiv 1704.00028.
    """
    random = generator_for(SEEDS[split], "swiss_roll")
    angle = 1.5 * math.pi * (1 + 2 * torch.rand(size, generator=random))
    spiral = torch.stack([angle * angle.cos(), angle * angle.sin()], dim=1)
    points = (spiral + std * torch.randn(size, 2, generator=random)) / SWISS_ROLL_SCALE
    return Dataset(samples=points, source="drawn by gan-cli")
