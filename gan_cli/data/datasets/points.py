"""2D points whose distribution is known, so that mode collapse can be measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gan_cli.data.dataset import SEEDS, Dataset
from gan_cli.randomness import generator_for

SWISS_ROLL_SCALE = 7.5
SWISS_ROLL_EXTENT = 4.5 * math.pi / SWISS_ROLL_SCALE


def build_ring(*, size: int, modes: int, radius: float, std: float, split: str, image_size: None = None) -> Dataset:
    """Returns points float32 `[size, 2]` drawn from `modes` equally frequent Gaussians around `ring_centres`."""
    return _draw_mixture("ring", ring_centres(modes, radius), size, std, split)


def ring_centres(modes: int, radius: float) -> Tensor:
    """Returns the centres float32 `[modes, 2]`, evenly spaced on a circle, 2 pi / modes apart."""
    angles = torch.arange(modes) * (2 * math.pi / modes)  # without 2 pi, where the first mode is
    return radius * torch.stack([angles.cos(), angles.sin()], dim=1)


def build_grid(*, size: int, side: int, spacing: float, std: float, split: str, image_size: None = None) -> Dataset:
    """Returns points float32 `[size, 2]` from `side` x `side` equally frequent Gaussians around `grid_centres`."""
    return _draw_mixture("grid", grid_centres(side, spacing), size, std, split)


def _draw_mixture(name: str, centres: Tensor, size: int, std: float, split: str) -> Dataset:
    labels = torch.arange(size) % len(centres)
    noise = torch.randn(size, 2, generator=generator_for(SEEDS[split], name))
    classes = tuple(map(str, range(len(centres))))
    return Dataset(samples=centres[labels] + std * noise, labels=labels, classes=classes, source="drawn by gan-cli")


def grid_centres(side: int, spacing: float) -> Tensor:
    """Returns the centres float32 `[side * side, 2]` of a square grid around the origin."""
    axis = (torch.arange(side) - (side - 1) / 2) * spacing
    return torch.cartesian_prod(axis, axis)


def build_swiss_roll(*, size: int, std: float, split: str, image_size: None = None) -> Dataset:
    """Returns (t (cos t, sin t) + noise) / 7.5, t ~ U[1.5 pi, 4.5 pi]. Gulrajani et al. 2017, arXiv 1704.00028."""
    random = generator_for(SEEDS[split], "swiss_roll")
    angle = 1.5 * math.pi * (1 + 2 * torch.rand(size, generator=random))
    spiral = torch.stack([angle * angle.cos(), angle * angle.sin()], dim=1)
    points = (spiral + std * torch.randn(size, 2, generator=random)) / SWISS_ROLL_SCALE
    return Dataset(samples=points, source="drawn by gan-cli")


class Modes(NamedTuple):
    """The known distribution of 2D points."""

    centres: Tensor  # of the modes, float32 `[M, 2]`; M is 0 if the distribution is not a mixture
    std: float  # standard deviation of a mode
    extent: float  # half the side of a square around the origin that holds nearly all points


def _mixture(centres: Tensor, section: Any) -> Modes:
    """Returns the modes with these centres; if `section.classes` names the numbers of some, only those."""
    if section.classes is not None:
        centres = centres[[int(name) for name in section.classes]]
    return Modes(centres, section.std, extent=centres.abs().max().item() + 3 * section.std)


MODES: dict[str, Callable[[Any], Modes]] = {
    "ring": lambda section: _mixture(ring_centres(section.modes, section.radius), section),
    "grid": lambda section: _mixture(grid_centres(section.side, section.spacing), section),
    "swiss_roll": lambda section: Modes(torch.empty(0, 2), 0.0, SWISS_ROLL_EXTENT + 3 * section.std / SWISS_ROLL_SCALE),
}


def known_modes(section: Any) -> Modes | None:
    """Returns the known distribution of the data set of a config section, or None if the data set is not 2D points."""
    return MODES[section.name](section) if section.name in MODES else None
