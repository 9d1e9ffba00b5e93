"""MNIST, Fashion-MNIST and KMNIST, read from local idx files or downloaded.

If neither is possible, MNIST can use the digits that are part of this package.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets.idx_files import find_idx, read_idx
from gan_cli.data.decoding.resize import crop_and_resize_batch
from gan_cli.errors import UsageError
from gan_cli.storage.download import DownloadError, download

BUNDLED = Path(__file__).with_name("mnist5k.npz")
SIDE = 28
PREFIXES = {"train": "train", "test": "t10k"}


def file_names(split: str) -> tuple[str, str]:
    """Returns the names of the image file and of the label file of a split, without the suffix `.gz`."""
    return f"{PREFIXES[split]}-images-idx3-ubyte", f"{PREFIXES[split]}-labels-idx1-ubyte"


IMAGES, LABELS = file_names("train")
TEST_IMAGES, TEST_LABELS = file_names("test")


@dataclass(frozen=True)
class Source:
    """A data set of the MNIST family. `folder` is its folder under `root`.

    `mirrors` are the addresses to download from. `md5` holds the md5 of each file as published, which is gzipped.
    `classes` are the names of the classes.
    """

    title: str
    folder: str
    mirrors: tuple[str, ...]
    md5: dict[str, str]
    classes: tuple[str, ...]


MNIST = Source(
    title="MNIST",
    folder="MNIST/raw",
    mirrors=("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
    md5={
        IMAGES: "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        LABELS: "d53e105ee54ea40749a09fcbcd1e9432",
        TEST_IMAGES: "9fb629c4189551a2d022fa330f9573f3",
        TEST_LABELS: "ec29112dd5afa0611ce80d1b7f02629c",
    },
    classes=tuple("0123456789"),
)
FASHION_MNIST = Source(
    title="Fashion-MNIST",
    folder="FashionMNIST/raw",
    mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    md5={
        IMAGES: "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        LABELS: "25c81989df183df01b3e8a0aad5dffbe",
        TEST_IMAGES: "bef4ecab320f06d8554ea6380940ec79",
        TEST_LABELS: "bb300cfdad3c16e7a12a480ee83cd310",
    },
    classes=(
        "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
    ),
)  # fmt: skip

KMNIST = Source(
    title="Kuzushiji-MNIST",
    folder="KMNIST/raw",
    mirrors=("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
    md5={
        IMAGES: "bdb82020997e1d708af4cf47b453dcf7",
        LABELS: "e144d726b3acfaa3e44228e80efcd344",
        TEST_IMAGES: "5c965bf0a639b31b8f53240b1b52f4d7",
        TEST_LABELS: "7320c461ea6c1c855c0b718fb2a4b134",
    },
    classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
)


def load_digits(
    source: Source, *, root: str, download: bool, fallback: str, image_size: tuple[int, int], split: str
) -> Dataset:
    """Returns a split of `source` with labels and with images of `image_size`, (height, width).

    Reads the files in `root`, or downloads them if they are missing and `download` is True. If this fails and
    `fallback` is `bundled`, returns the digits in this package for the split `train`. Raises UsageError if none of this
    is possible.
    """
    names = file_names(split)
    try:
        paths, origin = _find_or_download(source, names, Path(os.path.expanduser(root)), allowed=download)
    except DownloadError as error:
        if fallback == "bundled" and split == "train":
            return _load_bundled(source, image_size, why=str(error))
        raise UsageError(
            f"dataset.root={root}: {source.title} is not there and {error}; put {names[0]}.gz and {names[1]}.gz into"
            f" {Path(os.path.expanduser(root)) / source.folder}"
        ) from None
    images, labels = (read_idx(path) for path in paths)
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or len(images) == 0:
        raise UsageError(f"{paths[0]}: {images.shape} images do not fit {labels.shape} labels")
    return Dataset(
        samples=crop_and_resize_batch(_as_images(images), image_size),
        labels=_as_labels(labels, len(source.classes), paths[1]),
        classes=source.classes,
        source=f"{source.title}, {len(images):,} images {origin}",
    )


def _find_or_download(source: Source, names: tuple[str, str], root: Path, *, allowed: bool) -> tuple[list[Path], str]:
    for folder in (root / source.folder, root):
        found = [find_idx(folder, name) for name in names]
        if all(found):
            return [path for path in found if path], f"from {folder}"
    if not allowed:
        raise DownloadError("dataset.download=false")
    print(f"{source.title}: downloading to {root / source.folder}", flush=True)
    try:
        paths = [download(source.mirrors, f"{name}.gz", source.md5[name], root / source.folder) for name in names]
    except DownloadError as error:
        raise DownloadError(f"cannot be downloaded ({error})") from error
    return paths, "downloaded"


def _load_bundled(source: Source, image_size: tuple[int, int], why: str) -> Dataset:
    with np.load(BUNDLED, allow_pickle=False) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    return Dataset(
        samples=crop_and_resize_batch(_as_images(images), image_size),
        labels=_as_labels(labels, len(source.classes), BUNDLED),
        classes=source.classes,
        source=f"NOT the full MNIST: the {len(images):,} digits bundled with gan-cli ({why})",
        complete=False,
    )


def _as_images(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images.reshape(len(images), 1, *images.shape[-2:]).copy())


def _as_labels(labels: np.ndarray, classes: int, path: Path) -> Tensor:
    if labels.max() >= classes:
        raise UsageError(f"{path}: has label {labels.max()}, of {classes} classes counted from 0")
    return torch.from_numpy(labels.astype(np.int64))
