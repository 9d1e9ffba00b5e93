"""Builds a data set from its config section, and the batches of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch

from gan_cli.config.options.published_datasets import PUBLISHED
from gan_cli.config.options.tasks import NEEDS_SOURCES
from gan_cli.config.train_config import Config
from gan_cli.data.balance import group_by_class
from gan_cli.data.dataset import Batches, Dataset
from gan_cli.data.datasets.avatars import build_avatars
from gan_cli.data.datasets.celeba import build_celeba
from gan_cli.data.datasets.cifar import CIFAR10, CIFAR100, load_cifar
from gan_cli.data.datasets.downloaded_archives import MissingDataError
from gan_cli.data.datasets.emoji import build_emoji, build_emoji_pairs
from gan_cli.data.datasets.huggingface import build_huggingface
from gan_cli.data.datasets.lsun import load_lsun
from gan_cli.data.datasets.mnist_family import SOURCES, emnist, load_digits
from gan_cli.data.datasets.points import build_grid, build_ring, build_swiss_roll
from gan_cli.data.datasets.shapes import build_shapes
from gan_cli.data.datasets.stacked_mnist import build_stacked_mnist
from gan_cli.data.datasets.stl10 import load_stl10
from gan_cli.data.datasets.torchvision_reader import load_torchvision_set
from gan_cli.data.datasets.torchvision_sets import TABLE
from gan_cli.data.folder import build_folder
from gan_cli.data.labels import class_frequencies
from gan_cli.data.pairs import explain_missing_pairs, with_use_of_pairs
from gan_cli.data.selection import Selection
from gan_cli.data.shards.webdataset import build_webdataset
from gan_cli.data.source_description import describe_fit
from gan_cli.errors import GanCliError, UsageError, one_line
from gan_cli.tasks.tasks import task_of

BUILDERS: dict[str, Callable[..., Dataset]] = {
    **{name: partial(load_digits, source) for name, source in SOURCES.items()},
    "emnist": lambda subset, **settings: load_digits(emnist(subset), **settings),
    "stacked_mnist": build_stacked_mnist,
    "cifar10": partial(load_cifar, CIFAR10),
    "cifar100": partial(load_cifar, CIFAR100),
    "stl10": load_stl10,
    "celeba": build_celeba,
    "lsun": load_lsun,
    "folder": build_folder,
    "webdataset": build_webdataset,
    "huggingface": build_huggingface,
    "shapes": build_shapes,
    "avatars": build_avatars,
    "emoji": build_emoji,
    "emoji_pairs": build_emoji_pairs,
    "ring": build_ring,
    "grid": build_grid,
    "swiss_roll": build_swiss_roll,
    **{name: partial(load_torchvision_set, name) for name in TABLE},
}
MOST_CLASSES = 5000
HELD_OUT_SPLIT = dict.fromkeys(("train", "valid", "val", "extra", "unlabeled"), "test")  # by training split
SELECT_BEFORE_READING = (
    "celeba",
    "folder",
    "huggingface",
    "lsun",
    "webdataset",
    *TABLE,
)  # these data sets read only the selected samples


def build_dataset(section: Any, image_size: int | tuple[int, ...] | None) -> Dataset:
    """Returns the data set of a config section. `image_size` is the side of the images, or their (height, width)."""
    settings = asdict(section)
    name = settings.pop("name")
    settings.pop("flip", None)  # these options belong to the batches
    balance = settings.pop("balance", False)
    if name == "webdataset":
        settings["at_once"] = balance and settings["split"] == "train"
    selection = Selection(settings.pop("classes", None), settings.pop("limit", None))
    if name in SELECT_BEFORE_READING:
        settings["selection"] = selection
    size: Any = (image_size, image_size) if isinstance(image_size, int) else image_size
    dataset = selection.apply(BUILDERS[name](image_size=size, **settings))
    native = PUBLISHED.get(name, {}).get("size")
    return dataset if native is None else replace(dataset, source=dataset.source + describe_fit(native, size))


def held_out_split(section: Any, dataset: Dataset) -> str | None:
    """Returns the name of the test split of `dataset`, which was built from the section; None if there is none.

    Data that are not complete have none: a download failed, and would fail again.
    """
    return HELD_OUT_SPLIT.get(getattr(section, "split", "")) if dataset.complete else None


def build_held_out(section: Any, image_size: int | tuple[int, ...] | None, dataset: Dataset, **changes: Any) -> Dataset:
    """Returns the test split of `dataset`, which was built from the section; `changes` are other keys of it.

    Files that were not found, or not downloaded, are not sought again. Raises GanCliError as `build_dataset`.
    """
    split = changes["split"] = held_out_split(section, dataset)
    assert split is not None
    if split not in dataset.missing_splits:
        try:
            return build_dataset(replace(section, **changes), image_size)
        except MissingDataError as error:
            dataset.missing_splits[split] = error
    raise dataset.missing_splits[split]


def held_out_samples(config: Config, dataset: Dataset, count: int) -> Dataset | None:
    """Returns samples of the test split of the run's data, at least `count` if it has so many; None if it has none."""
    if held_out_split(config.dataset, dataset) is None:
        return None
    changes = {"limit": count}
    if hasattr(config.dataset, "size"):
        changes["size"] = min(config.dataset.size, count)
    try:
        held_out = build_held_out(config.dataset, config.image_size, dataset, **changes)
    except GanCliError:
        return None
    return None if held_out.sources is None and getattr(config.task, "source", None) == "data" else held_out


def build_batches(config: Config, dataset: Dataset, device: torch.device, offset: int = 0) -> Batches:
    """Returns the real batches of a run. `offset` is as for `Batches`."""
    flip, conditional = getattr(config.dataset, "flip", False), config.conditioning.name != "none"
    groups = group_by_class(dataset.labels, dataset.classes) if getattr(config.dataset, "balance", False) else None
    make_condition = task_of(config.task).make_condition
    of_task = None if make_condition is None else partial(make_condition, settings=config.task)
    return Batches(dataset, config.seed, config.batch_size, device, flip, conditional, offset, groups, of_task)


def with_classes(config: Config, dataset: Dataset) -> Config:
    """Returns the config, with the classes of the data if it is conditional. Raises UsageError if they do not fit."""
    typed, fine_tuned = f"conditioning={config.conditioning.name}", config.init_from is not None
    if config.conditioning.name == "none":
        return config
    if dataset.labels is None or not dataset.classes:
        instead = "use conditioning=none" + (", which leaves those layers of init_from out" if fine_tuned else "")
        found = f" ({one_line(dataset.source, 300)})" if hasattr(config.dataset, "path") else ""
        raise UsageError(f"{typed}: dataset={config.dataset.name} has no classes here, {instead}{found}")
    if len(dataset.classes) > MOST_CLASSES:
        raise UsageError(f"{typed}: {len(dataset.classes):,} classes, at most {MOST_CLASSES:,} are supported")
    if dataset.labels.ndim == 1 and any("=" in name for name in dataset.classes):
        raise UsageError(f"{typed}: a class's name has no '=', rename {next(n for n in dataset.classes if '=' in n)!r}")
    if config.classes not in ((), dataset.classes):
        given, have = ("[" + one_line(",".join(names), 80) + "]" for names in (config.classes, dataset.classes))
        why = "are recorded from the data, not to be set"
        raise UsageError(f"conditioning.classes={given} {why}: the data have {have}")
    recorded: dict[str, Any] = {"classes": dataset.classes}
    if hasattr(config.conditioning, "frequencies"):
        if config.frequencies is not None and not config.classes:
            raise UsageError("conditioning.frequencies: are recorded from the data, leave them out")
        recorded["frequencies"] = class_frequencies(dataset.labels, len(dataset.classes))
    return replace(config, conditioning=replace(config.conditioning, **recorded))


def check_sources(config: Config) -> None:
    """Raises UsageError if the task needs pairs and `dataset=folder` has none. Decodes no image."""
    if getattr(config.task, "source", None) != "data" or config.dataset.name != "folder":
        return
    if reason := explain_missing_pairs(config.dataset):
        raise UsageError(f"task={config.task.name}: {reason}; or task.source=edges")


def with_sources(config: Config, dataset: Dataset) -> Dataset:
    """Returns the data set, whose line says what the task makes of its pairs, if it has pairs of a folder.

    Raises UsageError if the task needs source images that the data set does not have, or has in another shape.
    """
    if getattr(config.task, "source", None) != "data":
        return with_use_of_pairs(config, dataset)
    if dataset.sources is None:
        check_sources(config)
        raise UsageError(f"task={config.task.name}: dataset={config.dataset.name} {NEEDS_SOURCES}")
    if dataset.sources.shape != dataset.samples.shape:
        shapes = [tuple(images.shape[1:]) for images in (dataset.sources, dataset.samples)]
        raise UsageError(f"task={config.task.name}: source images are {shapes[0]}, the others {shapes[1]}")
    return with_use_of_pairs(config, dataset)


def with_value_range(config: Config, dataset: Dataset) -> Config:
    """Returns the config with the images' value range in place of `auto`, so that other data are scaled alike."""
    if dataset.value_range is None or getattr(config.dataset, "value_range", None) != "auto":
        return config
    return replace(config, dataset=replace(config.dataset, value_range=dataset.value_range))
