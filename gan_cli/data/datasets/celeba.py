"""CelebA: 202,599 images of faces, cropped and aligned to 178x218 pixels."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import struct
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets.downloaded_archives import (
    allocate_images,
    damaged_file_error,
    missing_data_error,
    root_folder,
    source_text,
)
from gan_cli.data.decoding.resize import CHUNK, crop_box
from gan_cli.data.selection import Selection
from gan_cli.errors import StorageError, UsageError, one_line
from gan_cli.storage.download import TIMEOUT, create_folder_or_undo

WIDTH, HEIGHT = 178, 218
IMAGE_FOLDER, PARTITION = "img_align_celeba", "list_eval_partition.txt"
ARCHIVE = f"{IMAGE_FOLDER}.zip"
CODES = {"train": "0", "valid": "1", "test": "2"}  # number of each split in the partition file
NAME = re.compile(r"\w+\.jpg", re.ASCII)
MOST_IMAGE_BYTES = 1 << 20
MOST_PARTITION_BYTES = 1 << 24
WORKERS = 8


class DriveFile(NamedTuple):
    """A file on Google Drive: the id of the file and its md5."""

    id: str
    md5: str


DRIVE = {
    ARCHIVE: DriveFile("0B7EVK8r0v71pZjFTYXZWM3FlRnM", "00d2c5bc6d35e252742224ab0c1e8fcb"),
    PARTITION: DriveFile("0B7EVK8r0v71pY0NSMzRuSXJEVkk", "d32c9cbf5e040fd4025c592c306e6668"),
}


class CelebaImages(NamedTuple):
    """The encoded images of CelebA. `names` are the names of the images in order.

    `read` returns the bytes of the image with a given name. `path` is the folder or archive that holds the images.
    """

    names: list[str]
    read: Callable[[str], bytes]
    path: Path


def build_celeba(
    *, root: str, download: bool, split: str, image_size: tuple[int, int], selection: Selection
) -> Dataset:
    """Returns the selected images of a split of CelebA, without labels.

    Reads the images in `root/celeba`, and downloads missing files if `download` is True. The centre of each image is
    cropped to the proportions of `image_size`, (height, width), and resized to this size.
    """
    folder = root_folder(root) / "celeba"
    origin = _ensure(folder, root, split, allowed=download)
    with _opened(folder) as images:
        names = images.names if split == "all" else _names_of(folder / PARTITION, split)
        selected = [names[index] for index in selection.indices(None, (), len(names)).tolist()]
        samples = _decode_all(images, selected, image_size)
    source = source_text("CelebA", split, len(names), origin or f"from {images.path}")
    if len(selected) < len(names):
        source += f"; {len(selected):,} of {len(names):,} kept"
    return Dataset(samples=samples, source=source)


# --- files -------------------------------------------------------------------------------------------------------


def _ensure(folder: Path, root: str, split: str, *, allowed: bool) -> str:
    """Downloads the files that are missing in `folder`. Returns `downloaded`, or an empty text if no file was missing.

    Raises UsageError if files are missing and are not `allowed` to be downloaded, or if a download fails.
    """
    missing = []
    if not _has_images(folder / IMAGE_FOLDER) and not os.path.isfile(folder / ARCHIVE):
        missing.append(ARCHIVE)
    if split != "all" and not os.path.isfile(folder / PARTITION):
        missing.append(PARTITION)
    if not missing:
        return ""
    if not allowed:
        raise missing_data_error("CelebA", root, "dataset.download=false", missing, folder)
    try:
        import gdown
    except ImportError:
        why = "its download needs gdown (pip install 'gan-cli[celeba]')"
        raise missing_data_error("CelebA", root, why, missing, folder) from None
    print(f"CelebA: downloading to {folder}", flush=True)
    for index, name in enumerate(missing):
        try:
            _fetch(gdown.download, name, folder)
        except Exception as error:  # gdown raises errors of many kinds
            why = f"{name} cannot be downloaded ({one_line(error, 200)})"
            raise missing_data_error("CelebA", root, why, missing[index:], folder) from error
    return "downloaded"


def _fetch(download: Callable[..., Any], name: str, folder: Path) -> None:
    """Downloads the file `name` into `folder`. If this fails, no partial file is left.

    Raises ValueError if the md5 of the file is wrong.
    """
    with create_folder_or_undo(folder), tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as part:
        path = Path(part) / name
        download(id=DRIVE[name].id, output=str(path), quiet=not sys.stdout.isatty(), timeout=TIMEOUT)
        with open(path, "rb") as stream:
            md5 = hashlib.file_digest(stream, partial(hashlib.md5, usedforsecurity=False)).hexdigest()
        if md5 != DRIVE[name].md5:
            raise ValueError(f"the file has md5 {md5}, expected {DRIVE[name].md5}")
        os.replace(path, folder / name)


def _has_images(folder: Path) -> bool:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return any(NAME.fullmatch(entry.name) for entry in entries)
    return False


def _names_of(path: Path, split: str) -> list[str]:
    """Returns the image names of a split, read from the partition file.

    Each line of this file holds the name of an image and the number of its split.
    """
    try:
        with open(path, encoding="ascii") as stream:
            lines = stream.read(MOST_PARTITION_BYTES).splitlines()
    except UnicodeDecodeError as error:
        raise damaged_file_error(path, "is not a text") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror or error})") from error
    names = []
    for number, line in enumerate(lines, 1):
        name, _, code = line.strip().partition(" ")
        if not NAME.fullmatch(name) or code.strip() not in CODES.values():
            raise damaged_file_error(path, f"line {number} is {one_line(line, 40)!r}, expected one as '000001.jpg 0'")
        if code.strip() == CODES[split]:
            names.append(name)
    if not names:
        raise damaged_file_error(path, f"names no pictures of the split {split}")
    return names


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[CelebaImages]:
    """Opens the folder of extracted images, or the archive if there is no such folder.

    Raises UsageError if the archive is damaged or holds no images, and StorageError if it cannot be read.
    """
    if _has_images(folder / IMAGE_FOLDER):
        path = folder / IMAGE_FOLDER
        yield CelebaImages(
            sorted(name for name in os.listdir(path) if NAME.fullmatch(name)), partial(_read_file, path), path
        )
        return
    path = folder / ARCHIVE
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, struct.error) as error:
        raise damaged_file_error(path, f"damaged archive ({one_line(error, 100)})") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror or error})") from error
    with archive:
        within = f"{IMAGE_FOLDER}/"
        names = [name.removeprefix(within) for name in archive.namelist() if name.startswith(within)]
        names = sorted({name for name in names if NAME.fullmatch(name)})
        if not names:
            raise damaged_file_error(path, f"has no pictures in {within}")
        yield CelebaImages(names, partial(_read_zipped, archive, path), path)


def _read_file(folder: Path, name: str) -> bytes:
    try:
        with open(folder / name, "rb") as stream:
            return stream.read(MOST_IMAGE_BYTES)
    except FileNotFoundError:
        raise UsageError(f"{folder / name}: missing; extract {ARCHIVE} again") from None
    except OSError as error:
        raise StorageError(f"{folder / name}: cannot be read ({error.strerror or error})") from error


def _read_zipped(archive: zipfile.ZipFile, path: Path, name: str) -> bytes:
    try:
        with archive.open(f"{IMAGE_FOLDER}/{name}") as stream:
            return stream.read(MOST_IMAGE_BYTES)
    except KeyError:
        raise damaged_file_error(path, f"has no picture {IMAGE_FOLDER}/{name}") from None
    except (zipfile.BadZipFile, RuntimeError, EOFError, zlib.error, struct.error) as error:
        raise damaged_file_error(path, f"{name} cannot be read ({one_line(error, 100)})") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror or error})") from error


# --- images ------------------------------------------------------------------------------------------------------


def _decode_all(images: CelebaImages, names: Sequence[str], size: tuple[int, int]) -> Tensor:
    """Returns the named images as uint8 `[N, 3, H, W]`, in the order of `names`."""
    samples = allocate_images(len(names), size)
    print(f"CelebA: reading {len(names):,} pictures", flush=True)
    with ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1)) as pool:
        for start in range(0, len(names), CHUNK):
            decoded = pool.map(partial(_decode, images, size=size), names[start : start + CHUNK])
            for index, image in enumerate(decoded, start):
                samples[index] = torch.from_numpy(image).permute(2, 0, 1)
    return samples


def _decode(images: CelebaImages, name: str, size: tuple[int, int]) -> np.ndarray:
    """Returns one image as uint8 `[H, W, 3]`.

    Raises UsageError if the image is missing, is damaged, or has another size than the images of CelebA.
    """
    content, shown = images.read(name), f"{images.path} ({name})"
    top, left, height, width = crop_box(HEIGHT, WIDTH, size)
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            if image.size == (WIDTH, HEIGHT):
                box = (left, top, left + width, top + height)
                return np.array(image.convert("RGB").resize(size[::-1], Image.Resampling.LANCZOS, box))
            found = f"is {image.width}x{image.height}, CelebA's are {WIDTH}x{HEIGHT}"
    except Exception as error:  # a decoder may raise nearly anything on damaged bytes
        raise damaged_file_error(shown, f"cannot be decoded ({one_line(error, 100)})") from error
    raise UsageError(f"{shown}: {found}; for pictures of your own use dataset=folder")
