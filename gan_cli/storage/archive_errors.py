"""The errors that the standard library raises when it reads a damaged zip, tar, gzip or xz file."""

from __future__ import annotations

import gzip
import lzma
import struct
import tarfile
import zipfile
import zlib

DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, struct.error, EOFError,
    ValueError, RuntimeError, LookupError, TypeError, OverflowError,
)  # fmt: skip
