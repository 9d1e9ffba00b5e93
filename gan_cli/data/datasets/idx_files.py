"""The idx format of the MNIST family: a big-endian header, then the bytes of one uint8 array. May be gzipped."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from gan_cli.errors import StorageError, UsageError

UINT8_MAGIC = 0x0800  # two zero bytes, type 8 = uint8, then the number of dimensions
MOST_BYTES = 1 << 30  # far more than a file of this family needs; guards against gzip bombs


def read_idx(path: Path) -> np.ndarray:
    """Returns the uint8 array in an idx file.

    Raises UsageError if the file is damaged or is no idx file of uint8, and StorageError if it cannot be read.
    """
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UsageError(f"{path}: damaged gzip file ({error}), get it again") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(content) > MOST_BYTES:
        raise UsageError(f"{path}: unpacks to more than {MOST_BYTES >> 20} MiB, not an idx file of this family")
    if len(content) < 4 or not 1 <= (dimensions := struct.unpack(">I", content[:4])[0] - UINT8_MAGIC) <= 4:
        raise UsageError(f"{path}: not an idx file of uint8 (wrong magic number)")
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise UsageError(f"{path}: ends within its header")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) - header != math.prod(shape):
        raise UsageError(f"{path}: its header says {math.prod(shape)} bytes of data, it has {len(content) - header}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def find_idx(folder: Path, name: str) -> Path | None:
    """Returns the path of `name` or `name.gz` in `folder`, or None if neither file exists."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
