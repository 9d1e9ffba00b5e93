"""The errors of reading files: those of damaged archives, and those of the operating system."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator

from gan_cli.errors import StorageError

# What the standard library raises when it reads a damaged zip, tar, gzip or xz file.
DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, struct.error, EOFError,
    ValueError, RuntimeError, LookupError, TypeError, OverflowError,
)  # fmt: skip


@contextlib.contextmanager
def reading(shown: object) -> Iterator[None]:
    """Turns an OSError of the block into a StorageError. `shown` is the name of the file or folder in its text."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{shown}: cannot be read ({error.strerror or error})") from error
