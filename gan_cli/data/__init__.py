"""Data sets by name. Each becomes one `Dataset` in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from gan_cli.data import digits
from gan_cli.data.dataset import Dataset
from gan_cli.data.digits import load_digits
from gan_cli.data.ring import build_ring, ring_centres
from gan_cli.data.shapes import build_shapes


def _load_mnist(image_size: int | None, **settings: Any) -> Dataset:
    return load_digits(digits.MNIST, image_size=image_size or digits.SIDE, **settings)


def _load_fashion_mnist(image_size: int | None, **settings: Any) -> Dataset:
    return load_digits(digits.FASHION_MNIST, fallback="error", image_size=image_size or digits.SIDE, **settings)


def _draw_ring(image_size: None, **settings: Any) -> Dataset:
    return build_ring(**settings)


BUILDERS: dict[str, Callable[..., Dataset]] = {
    "mnist": _load_mnist,
    "fashion_mnist": _load_fashion_mnist,
    "shapes": build_shapes,
    "ring": _draw_ring,
}


def build_dataset(section: Any, image_size: int | None) -> Dataset:
    """The data set that a section of the config describes, its images at `image_size` pixels."""
    settings = dataclasses.asdict(section)
    return BUILDERS[settings.pop("name")](image_size=image_size, **settings)


class Modes(NamedTuple):
    """Centres `[M, 2]` of a mixture of points, and the standard deviation of each."""

    centres: Tensor
    std: float


MODES: dict[str, Callable[[Any], Modes]] = {
    "ring": lambda section: Modes(ring_centres(section.modes, section.radius), section.std)
}


def known_modes(section: Any) -> Modes | None:
    """The modes of a data set of points; None where they are not points in the plane."""
    return MODES[section.name](section) if section.name in MODES else None
