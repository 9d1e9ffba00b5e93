"""MNIST and its siblings: local idx files, else a download, else (MNIST alone) the digits shipped in this package."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from gan_cli.data.dataset import Dataset
from gan_cli.data.download import DownloadError, download
from gan_cli.data.idx import find_idx, read_idx
from gan_cli.errors import UsageError

BUNDLED = Path(__file__).with_name("mnist5k.npz")
SIDE = 28
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@dataclass(frozen=True)
class Source:
    """Where a data set of this family is found: its folder under `root`, its mirrors and the md5 of its files."""

    title: str
    folder: str
    mirrors: tuple[str, ...]
    md5: dict[str, str]
    classes: tuple[str, ...]


MNIST = Source(
    title="MNIST",
    folder="MNIST/raw",
    mirrors=("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
    md5={IMAGES: "f68b3c2dcbeaaa9fbdd348bbdeb94873", LABELS: "d53e105ee54ea40749a09fcbcd1e9432"},
    classes=tuple("0123456789"),
)
FASHION_MNIST = Source(
    title="Fashion-MNIST",
    folder="FashionMNIST/raw",
    mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    md5={IMAGES: "8d4fb7e6c68d591d4c3dfef9ec88bf0d", LABELS: "25c81989df183df01b3e8a0aad5dffbe"},
    classes=(
        "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
    ),
)  # fmt: skip

KMNIST = Source(
    title="Kuzushiji-MNIST",
    folder="KMNIST/raw",
    mirrors=("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
    md5={IMAGES: "bdb82020997e1d708af4cf47b453dcf7", LABELS: "e144d726b3acfaa3e44228e80efcd344"},
    classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
)


def load_digits(source: Source, *, root: str, download: bool, fallback: str, image_size: int) -> Dataset:
    """`source` from `root`, from its mirrors or, with fallback `bundled`, from this package, at `image_size` pixels."""
    try:
        paths, origin = _find_or_download(source, Path(os.path.expanduser(root)), allowed=download)
    except DownloadError as error:
        if fallback == "bundled":
            return _load_bundled(source, image_size, why=str(error))
        raise UsageError(
            f"dataset.root={root}: {source.title} is not there and {error}; put {IMAGES}.gz and {LABELS}.gz into"
            f" {Path(os.path.expanduser(root)) / source.folder}"
        ) from None
    images, labels = (read_idx(path) for path in paths)
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or len(images) == 0:
        raise UsageError(f"{paths[0]}: {images.shape} images do not fit {labels.shape} labels")
    return Dataset(
        samples=resize(_as_images(images), image_size),
        labels=_as_labels(labels),
        classes=source.classes,
        source=f"{source.title}, {len(images):,} images {origin}",
    )


def _find_or_download(source: Source, root: Path, *, allowed: bool) -> tuple[list[Path], str]:
    for folder in (root / source.folder, root):
        found = [find_idx(folder, name) for name in (IMAGES, LABELS)]
        if all(found):
            return [path for path in found if path], f"from {folder}"
    if not allowed:
        raise DownloadError("dataset.download=false")
    print(f"{source.title}: downloading to {root / source.folder}", flush=True)
    try:
        paths = [
            download(source.mirrors, f"{name}.gz", source.md5[name], root / source.folder) for name in (IMAGES, LABELS)
        ]
    except DownloadError as error:
        raise DownloadError(f"cannot be downloaded ({error})") from error
    return paths, "downloaded"


def _load_bundled(source: Source, image_size: int, why: str) -> Dataset:
    with np.load(BUNDLED, allow_pickle=False) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    return Dataset(
        samples=resize(_as_images(images), image_size),
        labels=_as_labels(labels),
        classes=source.classes,
        source=f"NOT the full MNIST: the {len(images):,} digits bundled with gan-cli ({why})",
        complete=False,
    )


def _as_images(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images.reshape(len(images), 1, *images.shape[-2:]).copy())


def _as_labels(labels: np.ndarray) -> Tensor:
    return torch.from_numpy(labels.astype(np.int64))


def resize(images: Tensor, side: int) -> Tensor:
    """uint8 `[N, C, H, W]` to `[N, C, side, side]`, anti-aliased, a thousand images at a time."""
    if images.shape[-2:] == (side, side):
        return images
    resized = [
        interpolate(chunk.float(), (side, side), mode="bilinear", antialias=True).round().clamp(0, 255).to(torch.uint8)
        for chunk in images.split(1000)
    ]
    return torch.cat(resized)
