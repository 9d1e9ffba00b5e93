"""Data sets by name. Each becomes one `Dataset` in memory."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from torch import Tensor

from gan_cli.data import digits
from gan_cli.data.dataset import Dataset
from gan_cli.data.digits import load_digits
from gan_cli.data.ring import build_ring, ring_centres
from gan_cli.data.shapes import build_shapes


def build_dataset(section: Any, image_size: int | None) -> Dataset:
    """The data set that a section of the config describes, its images at `image_size` pixels."""
    settings = dataclasses.asdict(section)
    name = settings.pop("name")
    if name == "ring":
        return build_ring(**settings)
    if image_size is None:
        raise ValueError(f"{name} holds images and needs an image size")
    if name == "mnist":
        return load_digits(digits.MNIST, image_size=image_size, **settings)
    if name == "fashion_mnist":
        return load_digits(digits.FASHION_MNIST, fallback="error", image_size=image_size, **settings)
    return build_shapes(image_size=image_size, **settings)


class Modes(NamedTuple):
    """Centres `[M, 2]` of a mixture of points, and the standard deviation of each."""

    centres: Tensor
    std: float


def known_modes(section: Any) -> Modes | None:
    """The modes of a data set of points; None where they are not points in the plane."""
    if section.name != "ring":
        return None
    return Modes(ring_centres(section.modes, section.radius), section.std)
