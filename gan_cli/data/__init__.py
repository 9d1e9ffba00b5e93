"""Data sets by name. Each becomes one `Dataset` in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gan_cli.data import digits
from gan_cli.data.dataset import Dataset
from gan_cli.data.digits import load_digits
from gan_cli.data.points import (
    SWISS_ROLL_REACH,
    SWISS_ROLL_SCALE,
    build_grid,
    build_ring,
    build_swiss_roll,
    grid_centres,
    ring_centres,
)
from gan_cli.data.shapes import build_shapes


def _load_mnist(image_size: int | None, **settings: Any) -> Dataset:
    return load_digits(digits.MNIST, image_size=image_size or digits.SIDE, **settings)


def _loader(source: digits.Source) -> Callable[..., Dataset]:
    """Builds a data set of MNIST's family that has no stand-in in this package."""

    def load(image_size: int | None, **settings: Any) -> Dataset:
        return load_digits(source, fallback="error", image_size=image_size or digits.SIDE, **settings)

    return load


def _drawer(build: Callable[..., Dataset]) -> Callable[..., Dataset]:
    """Builds a data set of points, which have no image size."""
    return lambda image_size, **settings: build(**settings)


BUILDERS: dict[str, Callable[..., Dataset]] = {
    "mnist": _load_mnist,
    "fashion_mnist": _loader(digits.FASHION_MNIST),
    "kmnist": _loader(digits.KMNIST),
    "shapes": build_shapes,
    "ring": _drawer(build_ring),
    "grid": _drawer(build_grid),
    "swiss_roll": _drawer(build_swiss_roll),
}


def build_dataset(section: Any, image_size: int | None) -> Dataset:
    """The data set that a section of the config describes, its images at `image_size` pixels."""
    settings = dataclasses.asdict(section)
    return BUILDERS[settings.pop("name")](image_size=image_size, **settings)


class Modes(NamedTuple):
    """What is known of points: the centres `[M, 2]` of their modes, each mode's standard deviation, how far they reach.

    A distribution that is no mixture has no centres, M = 0.
    """

    centres: Tensor
    std: float
    reach: float


def _mixture(centres: Tensor, std: float) -> Modes:
    return Modes(centres, std, reach=centres.abs().max().item() + 3 * std)


MODES: dict[str, Callable[[Any], Modes]] = {
    "ring": lambda section: _mixture(ring_centres(section.modes, section.radius), section.std),
    "grid": lambda section: _mixture(grid_centres(section.side, section.spacing), section.std),
    "swiss_roll": lambda section: Modes(torch.empty(0, 2), 0.0, SWISS_ROLL_REACH + 3 * section.std / SWISS_ROLL_SCALE),
}


def known_modes(section: Any) -> Modes | None:
    """What is known of a data set of points in the plane; None of images."""
    return MODES[section.name](section) if section.name in MODES else None
