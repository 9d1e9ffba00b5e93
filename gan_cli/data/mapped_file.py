"""The cache file of decoded images, which runs memory-map, so that runs on the same images share the memory.

The file holds, in this order: the pixels (those of source images first), the labels, a JSON text that describes the
pixels and labels (the card), and a trailer of fixed length, which gives the length of the card.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import mmap
import os
import shutil
import struct
import tempfile
import warnings
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import BaseModel, Field
from torch import Tensor

from gan_cli.data.dataset import Dataset
from gan_cli.errors import printable
from gan_cli.storage.atomic_write import create_folder_or_undo
from gan_cli.storage.locks import lock_file
from gan_cli.storage.run_files import open_to_read

CHECKED_BYTES = 256 << 20  # up to this size the checksum covers all pixels, above this size about CHECKED_IMAGES images
CHECKED_IMAGES = 256
MAGIC = b"gan-cli pictures"
TRAILER = struct.Struct("<32sQ16s")  # sha256 of labels and card, length of the card in bytes, MAGIC
MOST_CARD_BYTES = 16 << 20
ALIGNED = 64  # the labels begin at a multiple of this number of bytes
Size = Annotated[int, Field(strict=True, ge=1, lt=2**48)]
SUFFIX, PART = ".pictures", ".pictures-part-"


class CacheEntry(NamedTuple):
    """The path of a cache file. One of the same `settings_hash` but another `content_hash` is outdated."""

    folder: Path
    settings_hash: str  # of the data paths and the settings
    content_hash: str  # of the state of the files at these paths

    @property
    def path(self) -> Path:
        return self.folder / f"{self.settings_hash}-{self.content_hash}{SUFFIX}"


class Card(BaseModel):
    """The description in a cache file: shapes `[N, C, H, W]` of images and `[N]` or `[N, attributes]` of labels."""

    samples: tuple[Size, Size, Size, Size]
    labels: tuple[Size] | tuple[Size, Size] | None
    pairs: bool = False  # as many source images of the same shape lie before the images
    classes: tuple[str, ...]
    source: str
    fingerprint: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    changes: dict[str, Any]
    value_range: str | tuple[float, float] | None
    checksum: str


def load_entry(entry: CacheEntry) -> Dataset | None:
    """Returns the cached data set, memory-mapped. Returns None if the cache file is missing, damaged or incomplete.

    Also returns None for a file that another user made or may change, because it could hold any images and texts.
    """
    try:
        with open_to_read(entry.path) as file:
            if not _is_own(os.fstat(file.fileno())):
                return None
            mapped = map_file(file.fileno())
        dataset, checksum = _read_card(mapped)
        return dataset if _checksum(dataset) == checksum else None
    except (OSError, ValueError, RuntimeError, struct.error):
        return None  # missing or damaged: the caller builds it again


def _read_card(mapped: mmap.mmap) -> tuple[Dataset, str]:
    """Returns the data set in the file and the checksum of its pixels. Raises ValueError, among others, if damaged."""
    digest, length, magic = TRAILER.unpack(mapped[-TRAILER.size :])
    end = len(mapped) - TRAILER.size
    if magic != MAGIC or not 0 < length <= min(MOST_CARD_BYTES, end):
        raise ValueError("no card")
    card = Card.model_validate_json(mapped[end - length : end])
    size = math.prod(card.samples)
    first = size if card.pairs else 0
    start = _aligned(first + size)
    if hashlib.sha256(memoryview(mapped)[start:end]).digest() != digest:
        raise ValueError("damaged")
    labels = card.labels
    if start + 8 * (0 if labels is None else math.prod(labels)) + length != end:
        raise ValueError("of another length")
    dataset = Dataset(
        samples=mapped_tensor(mapped, torch.uint8, first, card.samples),
        sources=mapped_tensor(mapped, torch.uint8, 0, card.samples) if card.pairs else None,
        labels=None if labels is None else mapped_tensor(mapped, torch.int64, start, labels),
        classes=card.classes,
        source=printable(card.source),
        digest=card.fingerprint,
        changes=card.changes,
        value_range=card.value_range,
        mapped=mapped,
    )
    return dataset, card.checksum


def _is_own(status: os.stat_result) -> bool:
    """Returns whether the file is of this user or of root, and no other user may write to it."""
    return not hasattr(os, "geteuid") or (status.st_uid in (os.geteuid(), 0) and not status.st_mode & 0o022)


class PartialFile(NamedTuple):
    """A cache file that is being written. The writer holds a lock on the file until it closes `fd` or ends."""

    fd: int
    path: Path


def create_partial_file(folder: Path, size: int) -> PartialFile:
    """Creates and locks a file of `size` reserved bytes. Raises OSError if the disk has too little space for it."""
    with create_folder_or_undo(folder):
        _remove_abandoned(folder)
        if shutil.disk_usage(folder).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fd, name = tempfile.mkstemp(dir=folder, prefix=PART)  # only its owner can read it: images may be private
        try:
            lock_file(fd)
            if hasattr(os, "posix_fallocate"):
                _reserve(fd, size)
        except BaseException:
            os.close(fd)
            os.unlink(name)
            raise
    return PartialFile(fd, Path(name))


def _reserve(fd: int, size: int) -> None:
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):  # not supported by the file system
            raise


def write_at(fd: int, data: memoryview | bytes, offset: int) -> None:
    """Writes all of `data` at `offset`. On a full disk, writing through a memory map would kill the process."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(fd, rest, offset)
        rest, offset = rest[written:], offset + written


def finish_file(part: PartialFile, path: Path, dataset: Dataset) -> None:
    """Completes a partial file: writes labels, card and trailer after the pixels, and renames the file to `path`."""
    start = _aligned(pixel_bytes(dataset))
    labels = b"" if dataset.labels is None else dataset.labels.contiguous().numpy().tobytes()
    card = {
        "samples": list(dataset.samples.shape),
        "labels": None if dataset.labels is None else list(dataset.labels.shape),
        "pairs": dataset.sources is not None,
        "classes": dataset.classes,
        "source": dataset.source,
        "fingerprint": dataset.fingerprint,
        "changes": dict(dataset.changes),
        "value_range": dataset.value_range,
        "checksum": _checksum(dataset),
    }
    data = labels + json.dumps(card).encode()
    digest = hashlib.sha256(data).digest()
    data += TRAILER.pack(digest, len(data) - len(labels), MAGIC)
    write_at(part.fd, data, start)
    os.ftruncate(part.fd, start + len(data))  # removes the space reserved for unusable images
    os.fsync(part.fd)
    os.replace(part.path, path)


def remove_outdated(entry: CacheEntry) -> None:
    """Removes outdated cache files of the same paths and settings. Runs that have mapped one can still use it."""
    for path in entry.folder.glob(f"{entry.settings_hash}-*{SUFFIX}"):
        if path != entry.path:
            with contextlib.suppress(OSError):
                path.unlink()


def _remove_abandoned(folder: Path) -> None:
    """Removes partial files that are no longer locked, because their writers were killed."""
    for path in folder.glob(f"{PART}*"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            lock_file(file)
            path.unlink()


def _aligned(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED


def map_file(fd: int) -> mmap.mmap:
    """Maps the file read-only. The map stays valid after the descriptor is closed and the file removed."""
    return mmap.mmap(fd, 0, access=mmap.ACCESS_READ)


def mapped_tensor(mapped: mmap.mmap, dtype: torch.dtype, offset: int, shape: tuple[int, ...]) -> Tensor:
    """Returns the mapped bytes at `offset`, a multiple of the size of a number, as a read-only tensor."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable")  # a data set is never written to
        return torch.frombuffer(mapped, dtype=dtype, count=math.prod(shape), offset=offset).view(shape)


def pixel_bytes(dataset: Dataset) -> int:
    """Returns the number of bytes of all images of the data set, its source images among them."""
    return sum(images.numel() for images in (dataset.samples, dataset.sources) if images is not None)


def _checksum(dataset: Dataset) -> str:
    """Returns the sha256 of all pixels. For a large data set, only evenly spaced images are used."""
    spread = len(dataset) // CHECKED_IMAGES if pixel_bytes(dataset) > CHECKED_BYTES else 1
    digest = hashlib.sha256()
    for images in (dataset.samples, dataset.sources):
        for image in () if images is None else images.numpy()[:: max(1, spread)]:
            digest.update(image.data)
    return digest.hexdigest()
