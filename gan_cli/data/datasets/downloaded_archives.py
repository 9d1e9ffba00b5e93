"""Finds the files of published data sets in `dataset.root`, extracted or in a tar.gz, else downloads the tar.gz."""

from __future__ import annotations

import gzip
import importlib
import os
import tarfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar

import numpy as np
import pydantic.dataclasses
import torch
from torch import Tensor

from gan_cli.data.decoding.resize import CHUNK, crop_and_resize_batch
from gan_cli.errors import StorageError, UsageError, count_noun
from gan_cli.storage.archive_errors import reading
from gan_cli.storage.download import MOST_BYTES, DownloadError, download, download_from_drive

T = TypeVar("T")
BUFFER = 1 << 20
SLOW_BYTES = 1 << 29  # an archive larger than this takes a while to read


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """A published file."""

    name: str  # on every mirror
    md5: str
    mirrors: tuple[str, ...] = ()
    drive_id: str = ""  # its id if it is on Google Drive
    most_bytes: int = MOST_BYTES  # the largest size that is downloaded
    makes: str = ""  # the folder that extracting the file gives; empty for a file that is read as it is


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True)
class TarArchive(PublishedFile):
    """The tar.gz of the data set `title`, with its files in `folder`. `pickles` are as for `missing_data_error`."""

    title: str
    folder: str
    pickles: tuple[str, ...] = ()


@dataclass(frozen=True)
class ArchiveMember:
    """An open file of a data set, extracted or in the archive, which is read once."""

    stream: IO[bytes]
    size: int
    shown: str  # its name in messages

    def count(self, record: int, most: int) -> int:
        """Returns how many records of `record` bytes the file holds. Raises UsageError if this is not 1 to `most`."""
        if self.size < record or self.size % record or self.size > most * record:
            raise damaged_file_error(self.shown, f"has {self.size:,} bytes, expected 1 to {most:,} times {record:,}")
        return self.size // record

    def read(self, size: int) -> np.ndarray:
        """Returns the next `size` bytes as uint8 `[size]`. Raises UsageError if the file has fewer bytes left."""
        content = self.stream.read(size)
        if len(content) != size:
            raise damaged_file_error(self.shown, "ends too early")
        return np.frombuffer(content, np.uint8).copy()


def damaged_file_error(shown: object, what: str) -> UsageError:
    """Returns the error for a file whose content is not as published. `what` says what is wrong."""
    return UsageError(f"{shown}: {what}; delete it and get it again")


class MissingDataError(UsageError):
    """The files of a data set are not there. `why` says why they were not downloaded."""

    why: str


def missing_data_error(
    title: str, root: str, why: str, names: Sequence[str], folder: Path, pickles: Sequence[str] = ()
) -> MissingDataError:
    """Returns the error for a data set that is missing. `pickles` are its files, below `root`, that are never read."""
    pickle = next((name for name in pickles if (root_folder(root) / name).exists()), None)
    why += f" ({pickle} is a pickle, which may run any program and is not read)" if pickle else ""
    put = f"put {' and '.join(names)} into {folder}"
    error = MissingDataError(f"dataset.root={root}: {title} is not there and {why}; {put}")
    error.why = why
    return error


def source_text(title: str, split: str, count: int, origin: str) -> str:
    """Returns the text of `Dataset.source`: title, split, number of images, origin."""
    return f"{title}{'' if split == 'train' else f' ({split})'}, {count_noun(count, 'image')} {origin}"


def torchvision_class(name: str) -> Any:
    """Imports torchvision, which takes more than a second, and returns a class of its data sets."""
    return getattr(importlib.import_module("torchvision.datasets"), name)


def root_folder(root: str) -> Path:
    """Returns `dataset.root` as a path, with `~` expanded. Raises UsageError if it is, or is below, a file."""
    path = Path(os.path.expanduser(root))
    found = next((each for each in (path, *path.parents) if each.exists()), None)
    if found is not None and not found.is_dir():
        raise UsageError(f"dataset.root={root}: {found} is a file, expected a folder")
    return path


def download_missing(
    title: str, files: Sequence[PublishedFile], folder: Path, root: str, *, allowed: bool, pickles: Sequence[str] = ()
) -> None:
    """Downloads `files` into `folder`. Raises UsageError, which says where to put them, if it may not or cannot."""
    names = list(dict.fromkeys(file.name for file in files))
    offered = all(file.mirrors or file.drive_id for file in files)
    if not offered or not allowed:
        why = "dataset.download=false" if offered else "is not offered for download"
        raise missing_data_error(title, root, why, names, folder, pickles)
    print(f"{title}: downloading to {folder}", flush=True)
    for index, file in enumerate(files):
        try:
            if file.drive_id:
                download_from_drive(file.drive_id, file.name, file.md5, folder)
            else:
                download(file.mirrors, file.name, file.md5, folder, most_bytes=file.most_bytes)
        except DownloadError as error:
            why = f"cannot be downloaded ({error})"
            raise missing_data_error(title, root, why, names[index:], folder, pickles) from None


def read_files(
    archive: TarArchive, readers: Mapping[str, Callable[[ArchiveMember], T]], *, root: str, allowed: bool
) -> tuple[dict[str, T], str]:
    """Reads each named file with its reader. Returns the results by file name, and the origin of the files in words.

    Files are sought in `root/<folder>`, in `root` and in the archive in `root`, which is downloaded if `allowed`.
    Raises UsageError if they are not found or damaged.
    """
    for folder in (root_folder(root) / archive.folder, root_folder(root)):
        if all(os.path.isfile(folder / name) for name in readers):
            return {name: _read_file(folder / name, read) for name, read in readers.items()}, f"from {folder}"
    path = root_folder(root) / archive.name
    found = os.path.isfile(path)
    if not found:
        download_missing(archive.title, [archive], path.parent, root, allowed=allowed, pickles=archive.pickles)
    if os.path.getsize(path) > SLOW_BYTES:
        print(f"{archive.title}: reading {path}; once extracted it is read faster", flush=True)
    return _read_archive(path, archive.folder, readers), f"from {path}" if found else "downloaded"


def _read_file(path: Path, read: Callable[[ArchiveMember], T]) -> T:
    with reading(path), open(path, "rb") as stream:
        return read(ArchiveMember(stream, os.fstat(stream.fileno()).st_size, str(path)))


def _read_archive(path: Path, folder: str, readers: Mapping[str, Callable[[ArchiveMember], T]]) -> dict[str, T]:
    """Reads each named member of `folder` by its reader, without extraction. Raises UsageError if one is missing."""
    found: dict[str, T] = {}
    try:
        with gzip.open(path, "rb") as stream, tarfile.open(fileobj=stream, mode="r|", bufsize=BUFFER) as tar:
            for member in tar:
                parts = PurePosixPath(member.name).parts
                name = parts[1] if len(parts) == 2 and parts[0] == folder else ""
                if name not in readers or name in found or not member.isreg() or member.issparse():
                    continue
                if content := tar.extractfile(member):
                    found[name] = readers[name](ArchiveMember(content, member.size, f"{path} ({name})"))
            while stream.read(BUFFER):
                pass
    except (EOFError, ValueError, zlib.error, gzip.BadGzipFile, tarfile.TarError) as error:
        raise damaged_file_error(path, f"damaged archive ({error})") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror or error})") from error
    for name in readers:
        if name not in found:
            raise damaged_file_error(path, f"has no file {folder}/{name}")
    return found


def fit_images(arrays: Iterable[np.ndarray], count: int, size: tuple[int, int], channels: int = 3) -> Tensor:
    """Crops and resizes `count` images, given in arrays uint8 `[n, channels, h, w]` of which one is in memory."""
    try:
        samples, filled = torch.empty(count, channels, *size, dtype=torch.uint8), 0
    except RuntimeError:
        height, width = size
        raise UsageError(
            f"image_size=[{height},{width}]: {count_noun(count, 'image')} would be"
            f" {count * channels * height * width:,} bytes, more than there is memory for; use a smaller one"
        ) from None
    for array in arrays:
        for start in range(0, len(array), CHUNK):
            images = torch.from_numpy(np.ascontiguousarray(array[start : start + CHUNK]))
            samples[filled : filled + len(images)] = crop_and_resize_batch(images, size)
            filled += len(images)
    return samples
