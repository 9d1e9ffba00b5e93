"""A ring of Gaussians in the plane: the data on which mode collapse can be counted (1611.02163, appendix A)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gan_cli.data.dataset import Dataset
from gan_cli.randomness import generator_for

SEED = 0  # of the data itself, which must not change with a run's seed


def build_ring(*, size: int, modes: int, radius: float, std: float) -> Dataset:
    """`size` points `[size, 2]` in `modes` equally frequent Gaussians around `ring_centres`."""
    labels = torch.arange(size) % modes
    points = ring_centres(modes, radius)[labels] + std * torch.randn(size, 2, generator=generator_for(SEED, "ring"))
    return Dataset(
        samples=points,
        labels=labels,
        classes=tuple(f"mode {index}" for index in range(modes)),
        source="drawn by gan-cli",
    )


def ring_centres(modes: int, radius: float) -> Tensor:
    """`[modes, 2]`, evenly spaced on a circle.

    The angle steps by 2 pi / modes: the well-known demo spaces 8 angles from 0 to 2 pi inclusive, which makes 7 modes.
    """
    angles = torch.arange(modes) * (2 * math.pi / modes)
    return radius * torch.stack([angles.cos(), angles.sin()], dim=1)
