"""MNIST, with a part of it in this package, Fashion-MNIST, KMNIST, QMNIST and EMNIST: read from idx files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from gan_cli.config.options.published_datasets import PUBLISHED
from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets.downloaded_archives import (
    MissingDataError,
    PublishedFile,
    download_missing,
    missing_data_error,
    root_folder,
    torchvision_class,
)
from gan_cli.data.datasets.idx_files import find_idx, read_idx
from gan_cli.data.decoding.resize import crop_and_resize_batch
from gan_cli.errors import UsageError

BUNDLED = Path(__file__).with_name("mnist5k.npz")
SIDE = 28
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set of the MNIST family. If `mirrors` and `md5` are empty, the class `reader` of torchvision has them."""

    title: str
    folder: str  # below `root`
    classes: tuple[str, ...]
    # By split, the names of the image file and of the label file, without the suffix `.gz`.
    files: Mapping[str, tuple[str, str]] = Field({"train": (IMAGES, LABELS), "test": (TEST_IMAGES, TEST_LABELS)})
    reader: str = ""
    mirrors: tuple[str, ...] = ()  # the addresses to download from
    md5: Mapping[str, str] = Field(default_factory=dict)  # of each file as published, which is gzipped
    archive: str = ""  # the zip in which the files are published, if in one
    pickle: str = ""  # a file of this data set that others have, and that is not read
    transposed: bool = False  # images are stored column by column
    first_label: int = 0


SOURCES = {name: Source(**PUBLISHED[name]["source"]) for name in ("mnist", "fashion_mnist", "kmnist", "qmnist")}
MNIST = SOURCES["mnist"]


def emnist(subset: str) -> Source:
    """Returns the source of a subset of EMNIST."""
    reader = torchvision_class("EMNIST")
    names = {split: f"emnist-{subset}-{split}" for split in ("train", "test")}
    return Source(
        title=f"EMNIST {subset}",
        folder="EMNIST/raw",
        files={split: (f"{name}-images-idx3-ubyte", f"{name}-labels-idx1-ubyte") for split, name in names.items()},
        classes=tuple(name for name in reader.classes_split_dict[subset] if name != "N/A"),
        mirrors=(reader.url.rpartition("/")[0] + "/",),
        md5={"gzip.zip": reader.md5},
        archive="gzip.zip",
        pickle=f"EMNIST/processed/training_{subset}.pt",
        transposed=True,
        first_label=1 if subset == "letters" else 0,
    )


def load_digits(
    source: Source, *, root: str, download: bool, image_size: tuple[int, int], split: str, fallback: str = "error"
) -> Dataset:
    """Returns a split of `source` with labels, from the files in `root` or, if `download` is True, downloaded.

    If both fail, raises UsageError or, if `fallback` is `bundled`, returns the digits in this package for `train`.
    """
    complete = True
    try:
        files, origin = _find_or_download(source, split, root, allowed=download)
    except MissingDataError as error:
        if fallback != "bundled" or split != "train":
            raise
        with np.load(BUNDLED, allow_pickle=False) as arrays:
            images, labels = arrays["images"].reshape(-1, SIDE, SIDE), arrays["labels"]
        files, complete = [IdxFile(BUNDLED)] * 2, False
        text = f"NOT the full MNIST: the {len(images):,} digits bundled with gan-cli ({error.why})"
    else:
        images, labels = (read_idx(*file) for file in files)
        text = f"{source.title}, {len(images):,} images {origin}"
    labels = labels[:, 0] if labels.ndim == 2 else labels  # QMNIST: the class, then facts about the writer
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or len(images) == 0:
        raise UsageError(f"{files[0].path}: {images.shape} images do not fit {labels.shape} labels")
    images = images.swapaxes(1, 2) if source.transposed else images
    return Dataset(
        samples=crop_and_resize_batch(torch.from_numpy(images[:, None].copy()), image_size),
        labels=_as_labels(labels, len(source.classes), files[1].path, source.first_label),
        classes=source.classes,
        source=text,
        complete=complete,
    )


class IdxFile(NamedTuple):
    """An idx file, or the name of one in a zip."""

    path: Path
    member: str = ""


def _find_or_download(source: Source, split: str, root: str, *, allowed: bool) -> tuple[list[IdxFile], str]:
    """Returns the image file, the label file and their origin in words. Raises MissingDataError if one is missing."""
    folder, names = root_folder(root) / source.folder, source.files[split]
    for each in (folder, folder / "gzip", root_folder(root)):  # gzip: of the unpacked archive of EMNIST
        if found := _find(source, each, names):
            return found, f"from {found[0].path if source.archive else each}"
    wanted, pickles = [source.archive] if source.archive else [f"{name}.gz" for name in names], [source.pickle]
    if not allowed:
        raise missing_data_error(source.title, root, "dataset.download=false", wanted, folder, pickles)
    files = [_published(source, name) for name in wanted]
    download_missing(source.title, files, folder, root, allowed=True, pickles=pickles)
    return _find(source, folder, names), "downloaded"


def _find(source: Source, folder: Path, names: Sequence[str]) -> list[IdxFile]:
    """Returns the named files in `folder`, or in the archive there; an empty list if one is missing."""
    found = [IdxFile(path) for name in names if (path := find_idx(folder, name))]
    if len(found) == len(names):
        return found
    archive = folder / source.archive
    return [IdxFile(archive, f"gzip/{name}.gz") for name in names] if archive.is_file() else []


def _published(source: Source, name: str) -> PublishedFile:
    """Returns the published file `name`, with its mirrors and its md5."""
    if not source.reader:
        return PublishedFile(name=name, md5=source.md5[name.removesuffix(".gz")], mirrors=source.mirrors)
    reader = torchvision_class(source.reader)
    resources = reader.resources
    if isinstance(resources, dict):  # QMNIST: whole addresses by split
        resources = [*resources["train"], *resources["test"]]
    address, md5 = next(resource for resource in resources if resource[0].rpartition("/")[2] == name)
    prefix = address.removesuffix(name)
    return PublishedFile(name=name, md5=md5, mirrors=(prefix,) if prefix else tuple(reader.mirrors))


def _as_labels(labels: np.ndarray, classes: int, path: Path, first: int) -> Tensor:
    """Returns labels int64 `[N]`, counted from 0. In the file, they are counted from `first`."""
    low, high = int(labels.min()), int(labels.max())
    if low < first or high >= first + classes:
        wrong = low if low < first else high
        raise UsageError(f"{path}: has label {wrong}, of {classes} classes counted from {first}")
    return torch.from_numpy(labels.astype(np.int64) - first)
