"""The idx format of the MNIST family: a big-endian header, then one array. The file may be gzipped, or in a zip."""

from __future__ import annotations

import contextlib
import gzip
import math
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gan_cli.errors import UsageError
from gan_cli.storage.archive_errors import DAMAGED, reading

# By the third byte; the fourth is the number of dimensions.
TYPES: dict[int, np.dtype[Any]] = {0x08: np.dtype(np.uint8), 0x0C: np.dtype(">i4")}
MOST_BYTES = 1 << 30  # more than a file of this family needs; guards against gzip bombs


def read_idx(path: Path, member: str = "") -> np.ndarray:
    """Returns the array uint8 or int32 in an idx file. `member` is the name of the file if `path` is a zip.

    Raises UsageError if the file is damaged or is no such idx file, and StorageError if it cannot be read.
    """
    shown = f"{path} ({member})" if member else f"{path}"
    with reading(shown):
        try:
            with _opened(path, member) as stream:
                content = stream.read(MOST_BYTES + 1)
        except DAMAGED as error:
            raise UsageError(f"{shown}: damaged {'zip' if member else 'gzip file'}, get it again") from error
    if len(content) > MOST_BYTES:
        raise UsageError(f"{shown}: unpacks to more than {MOST_BYTES >> 20} MiB, not an idx file of this family")
    kind = TYPES.get(int.from_bytes(content[:3], "big")) if len(content) >= 4 else None
    if kind is None or not 1 <= (dimensions := content[3]) <= 4:
        raise UsageError(f"{shown}: not an idx file of uint8 (wrong magic number)")
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise UsageError(f"{shown}: ends within its header")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    size = math.prod(shape) * kind.itemsize
    if len(content) - header != size:
        raise UsageError(f"{shown}: its header says {size:,} bytes of data, it has {len(content) - header:,}")
    return np.frombuffer(content, kind, offset=header).reshape(shape)


@contextlib.contextmanager
def _opened(path: Path, member: str) -> Iterator[Any]:
    """Opens an idx file, unpacked if it is gzipped."""
    with contextlib.ExitStack() as stack:
        stream: Any = stack.enter_context(zipfile.ZipFile(path) if member else open(path, "rb"))
        if member:
            stream = stack.enter_context(stream.open(member))
        yield gzip.GzipFile(fileobj=stream) if (member or path.name).endswith(".gz") else stream


def find_idx(folder: Path, name: str) -> Path | None:
    """Returns the path of `name` or `name.gz` in `folder`, or None if neither file exists."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
