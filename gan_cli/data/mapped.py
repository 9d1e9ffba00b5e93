"""A file of decoded pictures that runs map into their address space, built once.

A mapped file costs a run no memory of its own: the kernel reads the pages that batches ask for, keeps them while there
is room, and shares them among all runs on the same pictures. The file holds, in this order, the pixels, the labels, a
card in JSON that tells about both, and a trailer of a fixed length that says where the card begins.
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
from typing import NamedTuple

import torch
from torch import Tensor

from gan_cli.data.dataset import Dataset
from gan_cli.storage.download import made_if_kept
from gan_cli.storage.locks import hold

CHECKED_BYTES = 256 << 20  # up to here all pixels are compared with their checksum at each start, of more some pictures
CHECKED_PICTURES = 256
MAGIC = b"gan-cli pictures"
TRAILER = struct.Struct("<32sQ16s")  # sha256 of labels and card, length of the card in bytes, MAGIC
MOST_CARD_BYTES = 16 << 20
ALIGNED = 64  # bytes: labels are mapped, too
SUFFIX, PART = ".pictures", ".pictures-part-"


class Place(NamedTuple):
    """The file of some pictures, whether or not it is there: `slot` is of where they are and what they become.

    `content` tells the same pictures from others at the same place: the file of others has had its day.
    """

    folder: Path
    slot: str
    content: str

    @property
    def path(self) -> Path:
        return self.folder / f"{self.slot}-{self.content}{SUFFIX}"


def load(place: Place) -> Dataset | None:
    """The data set whose file is there, whole and as it was written; its pixels and labels are mapped, not read."""
    try:
        fd = os.open(place.path, os.O_RDONLY)
        try:
            mapped = mapped_file(fd)
        finally:
            os.close(fd)
        dataset, checksum = _read_card(mapped)
        if _checksum(dataset.samples) != checksum:
            return None
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, struct.error):
        return None  # there is none, or what is there is damaged: it is built anew
    return dataset


def _read_card(mapped: mmap.mmap) -> tuple[Dataset, str]:
    """The data set in the file, and its checksum; ValueError and others if it is not such a file, or not all of one."""
    digest, length, magic = TRAILER.unpack(mapped[-TRAILER.size :])
    end = len(mapped) - TRAILER.size
    if magic != MAGIC or not 0 < length <= min(MOST_CARD_BYTES, end):
        raise ValueError("no card")
    card = json.loads(mapped[end - length : end])
    shape = tuple(card["samples"])
    start = _aligned(math.prod(shape))
    if hashlib.sha256(memoryview(mapped)[start:end]).digest() != digest:
        raise ValueError("damaged")
    labels, value_range = card["labels"], card["value_range"]
    if start + 8 * (0 if labels is None else math.prod(labels)) + length != end:
        raise ValueError("of another length")
    dataset = Dataset(
        samples=tensor_in(mapped, torch.uint8, 0, shape),
        labels=None if labels is None else tensor_in(mapped, torch.int64, start, tuple(labels)),
        classes=tuple(card["classes"]),
        source=card["source"],
        digest=card["fingerprint"],
        changes=dict(card["changes"]),
        value_range=tuple(value_range) if isinstance(value_range, list) else value_range,
    )
    return dataset, card["checksum"]


# --- writing -----------------------------------------------------------------------------------------------------


class Part(NamedTuple):
    """A file that is being written, locked as long as its writer lives."""

    fd: int
    path: Path


def open_part(folder: Path, size: int) -> Part:
    """An empty file with `size` bytes reserved for it: a disk that is too full says so now."""
    with made_if_kept(folder):
        _remove_abandoned(folder)
        if shutil.disk_usage(folder).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fd, name = tempfile.mkstemp(dir=folder, prefix=PART)  # for its owner alone: pictures may be private
        try:
            hold(fd)
            if hasattr(os, "posix_fallocate"):
                _reserve(fd, size)
        except BaseException:
            os.close(fd)
            os.unlink(name)
            raise
    return Part(fd, Path(name))


def _reserve(fd: int, size: int) -> None:
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):  # not every file system can
            raise


def write(fd: int, content: memoryview | bytes, offset: int) -> None:
    """All of `content`, not through a mapping: of a disk that is full that would end the process."""
    rest = memoryview(content)
    while rest:
        written = os.pwrite(fd, rest, offset)
        rest, offset = rest[written:], offset + written


def finish(part: Part, path: Path, dataset: Dataset) -> None:
    """Adds labels, card and trailer to the pixels, and gives the file its name when all of it is on the disk."""
    start = _aligned(dataset.samples.numel())
    labels = b"" if dataset.labels is None else dataset.labels.contiguous().numpy().tobytes()
    card = {
        "samples": list(dataset.samples.shape),
        "labels": None if dataset.labels is None else list(dataset.labels.shape),
        "classes": dataset.classes,
        "source": dataset.source,
        "fingerprint": dataset.fingerprint,
        "changes": dict(dataset.changes),
        "value_range": dataset.value_range,
        "checksum": _checksum(dataset.samples),
    }
    content = labels + json.dumps(card).encode()
    digest = hashlib.sha256(content).digest()
    content += TRAILER.pack(digest, len(content) - len(labels), MAGIC)
    write(part.fd, content, start)
    os.ftruncate(part.fd, start + len(content))  # room that bad pictures have left
    os.fsync(part.fd)
    os.replace(part.path, path)


def remove_others(place: Place) -> None:
    """What the same place held before its pictures changed; a run that has it mapped goes on with it."""
    for path in place.folder.glob(f"{place.slot}-*{SUFFIX}"):
        if path != place.path:
            with contextlib.suppress(OSError):
                path.unlink()


def _remove_abandoned(folder: Path) -> None:
    """Parts whose writers were killed: nobody holds their locks."""
    for path in folder.glob(f"{PART}*"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            hold(file)
            path.unlink()


# --- bytes -------------------------------------------------------------------------------------------------------


def _aligned(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED


def mapped_file(fd: int) -> mmap.mmap:
    """The file for reading; the mapping outlives the descriptor and the file's name."""
    return mmap.mmap(fd, 0, access=mmap.ACCESS_READ)


def tensor_in(mapped: mmap.mmap, dtype: torch.dtype, offset: int, shape: tuple[int, ...]) -> Tensor:
    """What is mapped at `offset`, a multiple of `ALIGNED`, as a tensor that cannot be written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable")  # nor does anybody write to a data set
        return torch.frombuffer(mapped, dtype=dtype, count=math.prod(shape), offset=offset).view(shape)


def _checksum(samples: Tensor) -> str:
    """Of all pixels, or of pictures spread evenly over a set that takes too long to read."""
    spread = len(samples) // CHECKED_PICTURES if samples.numel() > CHECKED_BYTES else 1
    digest = hashlib.sha256()
    for picture in samples.numpy()[:: max(1, spread)]:
        digest.update(picture.data)
    return digest.hexdigest()
