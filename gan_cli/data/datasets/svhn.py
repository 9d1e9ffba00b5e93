"""SVHN: photographs of house numbers, 32x32 around one digit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets.downloaded_archives import (
    PublishedFile,
    damaged_file_error,
    fetch,
    fit_images,
    root_folder,
    source_text,
)
from gan_cli.data.decoding.resize import CHUNK
from gan_cli.errors import StorageError, UsageError, one_line

SIDE = 32
MOST = 531_131  # the most images in a file
CLASSES = tuple("0123456789")
MD5 = {
    "train": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "test": "eb5a983be6a315427106f1b164d9cef3",
    "extra": "a93ce644f1a588dc4d68dda5feec44a7",
}
SVHN = {
    split: PublishedFile(
        title="SVHN",
        name=f"{split}_32x32.mat",
        md5=md5,
        mirrors=("http://ufldl.stanford.edu/housenumbers/",),
        most_bytes=2 << 30,
    )
    for split, md5 in MD5.items()
}


def load_svhn(*, root: str, download: bool, split: str, image_size: tuple[int, int]) -> Dataset:
    """Returns a split of SVHN with labels and with images of `image_size`, (height, width).

    Reads the file in `root`, or downloads it if it is missing and `download` is True. Raises UsageError if scipy, which
    reads the file format, is not installed.
    """
    try:
        import scipy.io as reader
    except ImportError:
        raise UsageError("dataset=svhn needs scipy: pip install 'gan-cli[svhn]'") from None
    file = SVHN[split]
    path, origin = root_folder(root) / file.name, f"from {root_folder(root) / file.name}"
    if not os.path.isfile(path):
        path, origin = fetch(file, root=root, allowed=download), "downloaded"
    images, labels = _read_mat(path, reader)
    return Dataset(
        samples=fit_images(_iter_images(images), len(labels), image_size),
        labels=torch.from_numpy(labels % 10),
        classes=CLASSES,
        source=source_text(file.title, split, len(labels), origin),
    )


def _read_mat(path: Path, reader: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns images uint8 `[32, 32, 3, N]` and labels int64 `[N]` from 1 to 10.

    The shapes in the header are checked before the arrays are read. Raises UsageError if the file holds anything else,
    and StorageError if it cannot be read.
    """
    try:
        with open(path, "rb") as stream:
            _check_header(path, _read_or_damaged(path, reader.whosmat, stream))
            stream.seek(0)
            content = _read_or_damaged(path, reader.loadmat, stream, variable_names=("X", "y"))
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror or error})") from error
    images, labels = content.get("X"), content.get("y")
    if not isinstance(images, np.ndarray) or not isinstance(labels, np.ndarray):
        raise damaged_file_error(path, "has no X and y")
    if images.dtype != np.uint8 or labels.dtype.kind not in "uif":
        raise damaged_file_error(path, f"X is of {images.dtype} and y of {labels.dtype}, expected uint8 and numbers")
    if not np.isin(labels, np.arange(1, 11)).all():
        raise damaged_file_error(path, "has labels other than 1 to 10")
    return images, labels.reshape(-1).astype(np.int64)


def _read_or_damaged(path: Path, read: Any, stream: Any, **settings: Any) -> Any:
    """Calls `read` and returns the result. Raises UsageError, which calls the file damaged, if `read` fails."""
    try:
        return read(stream, **settings)
    except Exception as error:  # a parser may raise nearly anything on damaged bytes
        raise damaged_file_error(path, f"damaged .mat file ({one_line(error, 100)})") from error


def _check_header(path: Path, variables: list[tuple[str, tuple[int, ...], str]]) -> None:
    """Raises UsageError unless X and y are arrays of numbers with the published shapes."""
    shapes = {name: shape for name, shape, _ in variables}
    if not {"X", "y"} <= shapes.keys():
        raise damaged_file_error(path, f"has no X and y, but {one_line(', '.join(shapes) or 'nothing', 100)}")
    for name, _, kind in variables:
        if name in ("X", "y") and not kind.startswith(("uint", "int", "double", "single")):
            raise damaged_file_error(path, f"{name} is of the kind {kind}, expected numbers")
    count = shapes["X"][-1] if shapes["X"] else 0
    if shapes["X"] != (SIDE, SIDE, 3, count) or shapes["y"] != (count, 1) or not 1 <= count <= MOST:
        raise damaged_file_error(path, f"X is {shapes['X']} and y {shapes['y']}, expected (32, 32, 3, N) and (N, 1)")


def _iter_images(images: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, images.shape[-1], CHUNK):
        yield images[..., start : start + CHUNK].transpose(3, 2, 0, 1)
