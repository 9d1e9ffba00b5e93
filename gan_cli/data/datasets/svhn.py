"""SVHN: house numbers photographed in the street, each picture 32x32 around one digit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets.downloaded_archives import Published, damaged, described, fetch, gather, place
from gan_cli.data.decoding.images import CHUNK
from gan_cli.errors import StorageError, UsageError, one_line

SIDE = 32
MOST = 531_131  # pictures in a file
CLASSES = tuple("0123456789")
MD5 = {
    "train": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "test": "eb5a983be6a315427106f1b164d9cef3",
    "extra": "a93ce644f1a588dc4d68dda5feec44a7",
}
SVHN = {
    split: Published(
        title="SVHN",
        name=f"{split}_32x32.mat",
        md5=md5,
        mirrors=("http://ufldl.stanford.edu/housenumbers/",),
        most_bytes=2 << 30,
    )
    for split, md5 in MD5.items()
}


def load_svhn(*, root: str, download: bool, split: str, image_size: tuple[int, int]) -> Dataset:
    """A split of SVHN from `root` or downloaded, labelled with its digits, its images at `image_size`.

    UsageError if scipy is missing, which reads the format.
    """
    try:
        import scipy.io as reader
    except ImportError:
        raise UsageError("dataset=svhn needs scipy: pip install 'gan-cli[svhn]'") from None
    file = SVHN[split]
    path, origin = place(root) / file.name, f"from {place(root) / file.name}"
    if not os.path.isfile(path):
        path, origin = fetch(file, root=root, allowed=download), "downloaded"
    images, labels = _read_mat(path, reader)
    return Dataset(
        samples=gather(_pictures(images), len(labels), image_size),
        labels=torch.from_numpy(labels % 10),
        classes=CLASSES,
        source=described(file.title, split, len(labels), origin),
    )


def _read_mat(path: Path, reader: Any) -> tuple[np.ndarray, np.ndarray]:
    """uint8 `[32, 32, 3, N]` and int64 `[N]` from 1 to 10; UsageError for anything else.

    What the file says of its variables is looked at before any is read.
    """
    try:
        with open(path, "rb") as stream:
            _check_header(path, _damage_told(path, reader.whosmat, stream))
            stream.seek(0)
            content = _damage_told(path, reader.loadmat, stream, variable_names=("X", "y"))
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror or error})") from error
    images, labels = content.get("X"), content.get("y")
    if not isinstance(images, np.ndarray) or not isinstance(labels, np.ndarray):
        raise damaged(path, "has no X and y")
    if images.dtype != np.uint8 or labels.dtype.kind not in "uif":
        raise damaged(path, f"X is of {images.dtype} and y of {labels.dtype}, expected uint8 and numbers")
    if not np.isin(labels, np.arange(1, 11)).all():
        raise damaged(path, "has labels other than 1 to 10")
    return images, labels.reshape(-1).astype(np.int64)


def _damage_told(path: Path, read: Any, stream: Any, **settings: Any) -> Any:
    try:
        return read(stream, **settings)
    except Exception as error:  # a parser at loose bytes may raise nearly anything
        raise damaged(path, f"damaged .mat file ({one_line(error, 100)})") from error


def _check_header(path: Path, variables: list[tuple[str, tuple[int, ...], str]]) -> None:
    """UsageError unless X and y are arrays of numbers of the shapes that were published."""
    shapes = {name: shape for name, shape, _ in variables}
    if not {"X", "y"} <= shapes.keys():
        raise damaged(path, f"has no X and y, but {one_line(', '.join(shapes) or 'nothing', 100)}")
    for name, _, kind in variables:
        if name in ("X", "y") and not kind.startswith(("uint", "int", "double", "single")):
            raise damaged(path, f"{name} is of the kind {kind}, expected numbers")
    count = shapes["X"][-1] if shapes["X"] else 0
    if shapes["X"] != (SIDE, SIDE, 3, count) or shapes["y"] != (count, 1) or not 1 <= count <= MOST:
        raise damaged(path, f"X is {shapes['X']} and y {shapes['y']}, expected (32, 32, 3, N) and (N, 1)")


def _pictures(images: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, images.shape[-1], CHUNK):
        yield images[..., start : start + CHUNK].transpose(3, 2, 0, 1)
