"""Data sets by name. Each becomes one `Dataset` in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gan_cli.config.train_config import Config
from gan_cli.data.balance import groups_of
from gan_cli.data.dataset import Batches, Dataset
from gan_cli.data.datasets import digits
from gan_cli.data.datasets.celeba import build_celeba
from gan_cli.data.datasets.cifar import CIFAR10, CIFAR100, load_cifar
from gan_cli.data.datasets.digits import load_digits
from gan_cli.data.datasets.points import (
    SWISS_ROLL_REACH,
    SWISS_ROLL_SCALE,
    build_grid,
    build_ring,
    build_swiss_roll,
    grid_centres,
    ring_centres,
)
from gan_cli.data.datasets.shapes import build_shapes
from gan_cli.data.datasets.stacked import build_stacked_mnist
from gan_cli.data.datasets.stl10 import load_stl10
from gan_cli.data.datasets.svhn import load_svhn
from gan_cli.data.folder import build_folder
from gan_cli.data.selection import Selection
from gan_cli.data.told import fit_line
from gan_cli.errors import UsageError, one_line


def _digits(source: digits.Source) -> Callable[..., Dataset]:
    """Loads a data set of MNIST's family; only MNIST itself has a stand-in in this package."""

    def load(*, fallback: str = "error", **settings: Any) -> Dataset:
        return load_digits(source, fallback=fallback, **settings)

    return load


def _drawn(build: Callable[..., Dataset]) -> Callable[..., Dataset]:
    """Draws points, which have no image size."""
    return lambda image_size, **settings: build(**settings)


BUILDERS: dict[str, Callable[..., Dataset]] = {
    "mnist": _digits(digits.MNIST),
    "fashion_mnist": _digits(digits.FASHION_MNIST),
    "kmnist": _digits(digits.KMNIST),
    "stacked_mnist": build_stacked_mnist,
    "cifar10": partial(load_cifar, CIFAR10),
    "cifar100": partial(load_cifar, CIFAR100),
    "svhn": load_svhn,
    "stl10": load_stl10,
    "celeba": build_celeba,
    "folder": build_folder,
    "shapes": build_shapes,
    "ring": _drawn(build_ring),
    "grid": _drawn(build_grid),
    "swiss_roll": _drawn(build_swiss_roll),
}
NATIVE = {  # (height, width) of the images that a data set is published with
    **dict.fromkeys(("mnist", "fashion_mnist", "kmnist", "stacked_mnist"), (28, 28)),
    **dict.fromkeys(("cifar10", "cifar100", "svhn"), (32, 32)),
    "stl10": (96, 96),
    "celeba": (218, 178),
}
MOST_CLASSES = 5000
CHOOSING = ("celeba", "folder")  # they read only what the selection keeps


def build_dataset(section: Any, image_size: int | tuple[int, ...] | None) -> Dataset:
    """The data set that a section of the config describes, its images at `image_size` pixels."""
    settings = dataclasses.asdict(section)
    name = settings.pop("name")
    for key in ("flip", "balance"):  # belong to the batches
        settings.pop(key, None)
    selection = Selection(settings.pop("classes", None), settings.pop("limit", None))
    if name in CHOOSING:
        settings["selection"] = selection
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    dataset = selection.apply(BUILDERS[name](image_size=size, **settings))
    if name not in NATIVE or size is None:
        return dataset
    height, width = size
    return dataclasses.replace(dataset, source=dataset.source + fit_line(NATIVE[name], (height, width)))


def build_batches(config: Config, dataset: Dataset, device: torch.device, offset: int = 0) -> Batches:
    """The batches of a run, which has seen `offset` more samples than its updates had in batches of this size."""
    flip, conditional = getattr(config.dataset, "flip", False), config.conditioning.name != "none"
    groups = groups_of(dataset.labels, dataset.classes) if getattr(config.dataset, "balance", False) else None
    return Batches(dataset, config.seed, config.batch_size, device, flip, conditional, offset, groups)


def with_classes(config: Config, dataset: Dataset) -> Config:
    """The config with the classes that the data have, if it asks for some; UsageError if they have none, or others."""
    asks, based = f"conditioning={config.conditioning.name}", config.init_from is not None
    if config.conditioning.name == "none":
        return config
    if dataset.labels is None or not dataset.classes:
        instead = "use conditioning=none" + (", which leaves those layers of init_from out" if based else "")
        found = f" ({one_line(dataset.source, 300)})" if config.dataset.name == "folder" else ""
        raise UsageError(f"{asks}: dataset={config.dataset.name} has no classes here, {instead}{found}")
    if len(dataset.classes) > MOST_CLASSES:
        raise UsageError(f"{asks}: {len(dataset.classes):,} classes, at most {MOST_CLASSES:,} can be asked for")
    if dataset.labels.ndim == 1 and any("=" in name for name in dataset.classes):
        raise UsageError(f"{asks}: a class's name has no '=', rename {next(n for n in dataset.classes if '=' in n)!r}")
    if config.classes not in ((), dataset.classes):
        few, have = ("[" + one_line(",".join(names), 80) + "]" for names in (config.classes, dataset.classes))
        raise UsageError(f"conditioning.classes={few} are recorded from the data, not to be set: the data have {have}")
    return dataclasses.replace(config, conditioning=dataclasses.replace(config.conditioning, classes=dataset.classes))


def with_value_range(config: Config, dataset: Dataset) -> Config:
    """The config with the range that deep pictures were scaled by, so that other pictures are scaled alike."""
    if dataset.value_range is None or getattr(config.dataset, "value_range", None) != "auto":
        return config
    return dataclasses.replace(config, dataset=dataclasses.replace(config.dataset, value_range=dataset.value_range))


class Modes(NamedTuple):
    """What is known of points: the centres `[M, 2]` of their modes, each mode's standard deviation, how far they reach.

    A distribution that is no mixture has no centres, M = 0.
    """

    centres: Tensor
    std: float
    reach: float


def _mixture(centres: Tensor, std: float) -> Modes:
    return Modes(centres, std, reach=centres.abs().max().item() + 3 * std)


def _kept(centres: Tensor, section: Any) -> Tensor:
    """The centres of the classes that are kept: a mode's class is its number."""
    return centres if section.classes is None else centres[[int(name) for name in section.classes]]


MODES: dict[str, Callable[[Any], Modes]] = {
    "ring": lambda section: _mixture(_kept(ring_centres(section.modes, section.radius), section), section.std),
    "grid": lambda section: _mixture(_kept(grid_centres(section.side, section.spacing), section), section.std),
    "swiss_roll": lambda section: Modes(torch.empty(0, 2), 0.0, SWISS_ROLL_REACH + 3 * section.std / SWISS_ROLL_SCALE),
}


def known_modes(section: Any) -> Modes | None:
    """What is known of a data set of points in the plane; None of images."""
    return MODES[section.name](section) if section.name in MODES else None
