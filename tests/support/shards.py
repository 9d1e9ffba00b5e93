"""Shards in the format of WebDataset, written by tarfile, and parquet files."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gan_cli.data.dataset import Dataset
from gan_cli.data.load_dataset import build_dataset
from support.configs import dataset_section

Members = Iterable[tuple[str, bytes]]


def encoded(pixels: np.ndarray, kind: str = "png") -> bytes:
    """Returns an image, uint8 `[H, W]` or `[H, W, C]`, as a file; webp without loss."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({"lossless": True} if kind == "webp" else {}))
    return buffer.getvalue()


def numbered_image(number: int, side: int = 8) -> np.ndarray:
    """Returns an image uint8 `[side, side, 3]` of one colour, from which its number can be read."""
    return np.full((side, side, 3), (number % 256, number // 256, 7), np.uint8)


def number_of(image: Any) -> int:
    """Returns the number of such an image `[C, H, W]`."""
    return int(image[0, 0, 0]) + 256 * int(image[1, 0, 0])


def write_shard(path: Path, members: Members) -> Path:
    """Writes a tar with these members, by name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_numbered(folder: Path, *counts: int, classes: int = 3, prefix: str = "train") -> Path:
    """Writes shards of so many numbered images, each with its number modulo `classes` as `cls`. Returns the folder."""
    number = 0
    for shard, count in enumerate(counts):
        members: list[tuple[str, bytes]] = []
        for _ in range(count):
            members.append((f"{number:06d}.png", encoded(numbered_image(number))))
            members.append((f"{number:06d}.cls", str(number % classes).encode()))
            number += 1
        write_shard(folder / f"{prefix}-{shard:04d}.tar", members)
    return folder


def write_parquet(folder: Path, count: int) -> Path:
    """Writes a parquet file of numbered images, without the features of the library `datasets`. Returns its folder."""
    import pyarrow
    from pyarrow import parquet

    folder.mkdir(parents=True, exist_ok=True)
    images = [encoded(numbered_image(number)) for number in range(count)]
    parquet.write_table(pyarrow.table({"image": images}), folder / "train.parquet")
    return folder


def load_shards(path: Path | str | tuple[str, ...], size: int = 8, **options: Any) -> Dataset:
    """Loads shards, by default without a cache."""
    given = path if isinstance(path, tuple) else str(path)
    section = dataset_section("webdataset", **{"path": given, "cache": "none", **options})
    return build_dataset(section, size)
