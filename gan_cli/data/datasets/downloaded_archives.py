"""Data sets published as a tar.gz of plain binary files: found extracted, found as the archive, or downloaded."""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TypeVar

import numpy as np
import torch
from torch import Tensor

from gan_cli.data.decoding.images import fit
from gan_cli.errors import StorageError, UsageError, counted
from gan_cli.storage.download import MOST_BYTES, DownloadError, download

T = TypeVar("T")
BUFFER = 1 << 20
SLOW_BYTES = 1 << 29  # an archive larger than this takes a while to read


@dataclass(frozen=True, kw_only=True)
class Published:
    """One file that a data set is published as: its name on every mirror, and its md5."""

    title: str
    name: str
    md5: str
    mirrors: tuple[str, ...]
    most_bytes: int = MOST_BYTES


@dataclass(frozen=True, kw_only=True)
class Archive(Published):
    """A tar.gz, with the folder that its members are in."""

    folder: str


@dataclass(frozen=True)
class Member:
    """A file of a data set, extracted or within its archive, to be read from its beginning."""

    stream: IO[bytes]
    size: int
    shown: str

    def count(self, record: int, most: int) -> int:
        """How many records of `record` bytes it holds; UsageError unless they are whole, and 1 to `most`."""
        if self.size < record or self.size % record or self.size > most * record:
            expected = f"expected 1 to {most:,} times {record:,}" if most > 1 else f"expected {record:,}"
            raise damaged(self.shown, f"has {self.size:,} bytes, {expected}")
        return self.size // record

    def read(self, size: int) -> np.ndarray:
        """The next bytes as uint8 `[size]`; UsageError if there are fewer."""
        content = self.stream.read(size)
        if len(content) != size:
            raise damaged(self.shown, "ends too early")
        return np.frombuffer(content, np.uint8).copy()


def damaged(shown: object, what: str) -> UsageError:
    """To be raised for a file whose content is not what was published."""
    return UsageError(f"{shown}: {what}; delete it and get it again")


def absent(title: str, root: str, why: str, names: Sequence[str], folder: Path) -> UsageError:
    """To be raised for a data set that is not under `dataset.root` and cannot be fetched either."""
    return UsageError(f"dataset.root={root}: {title} is not there and {why}; put {' and '.join(names)} into {folder}")


def described(title: str, split: str, count: int, origin: str) -> str:
    """What a data set says of its source."""
    return f"{title}{'' if split == 'train' else f' ({split})'}, {counted(count, 'image')} {origin}"


def place(root: str) -> Path:
    """The folder that `dataset.root` names."""
    return Path(os.path.expanduser(root))


def fetch(file: Published, *, root: str, allowed: bool) -> Path:
    """`file` downloaded into `root`; UsageError says why it was not and where to put it."""
    folder = place(root)
    if not allowed:
        raise absent(file.title, root, "dataset.download=false", [file.name], folder)
    print(f"{file.title}: downloading to {folder}", flush=True)
    try:
        return download(file.mirrors, file.name, file.md5, folder, most_bytes=file.most_bytes)
    except DownloadError as error:
        raise absent(file.title, root, f"cannot be downloaded ({error})", [file.name], folder) from None


def read_files(
    archive: Archive, readers: Mapping[str, Callable[[Member], T]], *, root: str, allowed: bool
) -> tuple[dict[str, T], str]:
    """What its reader makes of each of these files, by name, and in words where they were found.

    They are looked for in `root/<folder>`, in `root`, and in the archive in `root`, which is downloaded if `allowed`.
    """
    for folder in (place(root) / archive.folder, place(root)):
        if all(os.path.isfile(folder / name) for name in readers):
            return {name: _read_file(folder / name, read) for name, read in readers.items()}, f"from {folder}"
    path, origin = place(root) / archive.name, f"from {place(root) / archive.name}"
    if not os.path.isfile(path):
        path, origin = fetch(archive, root=root, allowed=allowed), "downloaded"
    if os.path.getsize(path) > SLOW_BYTES:
        print(f"{archive.title}: reading {path}; once extracted it is read faster", flush=True)
    return _read_archive(path, archive.folder, readers), origin


def _read_file(path: Path, read: Callable[[Member], T]) -> T:
    try:
        with open(path, "rb") as stream:
            return read(Member(stream, os.fstat(stream.fileno()).st_size, str(path)))
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror or error})") from error


def _read_archive(path: Path, folder: str, readers: Mapping[str, Callable[[Member], T]]) -> dict[str, T]:
    """What its reader makes of each member. Nothing is extracted: links and foreign paths are passed over.

    The archive is read to its end even if the last of them came early, for only there its checksum stands.
    """
    found: dict[str, T] = {}
    try:
        with gzip.open(path, "rb") as stream, tarfile.open(fileobj=stream, mode="r|", bufsize=BUFFER) as tar:
            for member in tar:
                parts = PurePosixPath(member.name).parts
                name = parts[1] if len(parts) == 2 and parts[0] == folder else ""
                if name not in readers or name in found or not member.isreg() or member.issparse():
                    continue
                if content := tar.extractfile(member):
                    found[name] = readers[name](Member(content, member.size, f"{path} ({name})"))
            while stream.read(BUFFER):
                pass
    except (EOFError, ValueError, zlib.error, gzip.BadGzipFile, tarfile.TarError) as error:
        raise damaged(path, f"damaged archive ({error})") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror or error})") from error
    if missing := [name for name in readers if name not in found]:
        raise damaged(path, f"has no file {folder}/{missing[0]}")
    return found


def gather(chunks: Iterable[np.ndarray], count: int, size: tuple[int, int]) -> Tensor:
    """`count` images, which come as uint8 `[n, 3, h, w]`, brought to `size`: uint8 `[count, 3, H, W]`.

    No more than one chunk stands in memory beside the result.
    """
    samples, filled = room_for(count, size), 0
    for chunk in chunks:
        samples[filled : filled + len(chunk)] = fit(torch.from_numpy(np.ascontiguousarray(chunk)), size)
        filled += len(chunk)
    return samples


def room_for(count: int, size: tuple[int, int]) -> Tensor:
    """uint8 `[count, 3, H, W]` to be filled; UsageError if there is not memory enough."""
    try:
        return torch.empty(count, 3, *size, dtype=torch.uint8)
    except RuntimeError:
        height, width = size
        raise UsageError(
            f"image_size=[{height},{width}]: {counted(count, 'image')} would be {count * 3 * height * width:,} bytes,"
            " more than there is memory for; use a smaller one"
        ) from None
