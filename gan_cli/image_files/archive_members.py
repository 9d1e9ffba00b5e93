"""What the readers of zip and tar share: the path of a member, and the errors of a damaged archive."""

from __future__ import annotations

import gzip
import lzma
import struct
import tarfile
import zipfile
import zlib

DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, tarfile.TarError, gzip.BadGzipFile, EOFError, ValueError,
    RuntimeError, struct.error, IndexError, TypeError, OverflowError, NotImplementedError,
)  # fmt: skip


def member_path(name: str) -> tuple[str, ...]:
    """Returns the path parts of a member, with backslashes as separators and without `.` and `..`."""
    return tuple(part for part in name.replace("\\", "/").split("/") if part not in ("", ".", ".."))
