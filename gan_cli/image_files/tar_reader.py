"""Reads images in a tar without extracting them. A compressed tar is unpacked to an unnamed temporary file."""

from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import io
import lzma
import os
import shutil
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from gan_cli.errors import StorageError, UsageError, one_line
from gan_cli.image_files import formats, own_outputs
from gan_cli.image_files.archive_members import Member, list_archive, member_path, size_problem
from gan_cli.image_files.arrays import ArrayCache, ArrayLocation
from gan_cli.image_files.formats import BadImageError
from gan_cli.image_files.listing import EXPECTED, ListedFile, Reader
from gan_cli.storage.archive_errors import DAMAGED, reading

if TYPE_CHECKING:
    import numpy as np

OPEN: dict[str, Callable[..., Any]] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}
CHUNK = 1 << 20


class TarReader:
    """Lists and reads the images in a tar. A compressed tar is unpacked to an unnamed file at the first read."""

    def __init__(self, path: str, shown: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._cache = ArrayCache()
        self._plain: IO[bytes] | None = None
        self._heads: dict[tuple[str, ...], bytes] = {}
        self.listing = list_archive(shown, "tar", self._members, lambda parts: self._heads.get(parts, b""))

    def _members(self) -> Iterator[Member]:
        """Yields the members. Keeps the bytes of a member that identify an output of gan-cli."""
        with tarfile.open(self._path, "r|*", bufsize=CHUNK) as tar:
            for info in tar:
                parts, read_start = member_path(info.name), partial(_first_bytes, tar, info)
                if parts and info.isreg() and (marks := own_outputs.identifying_bytes(parts[-1], read_start)):
                    self._heads[parts] = marks
                span = range(info.offset_data, info.offset_data + info.size)  # of its bytes in the uncompressed tar
                yield Member(parts, info.isdir(), span, info.size, read_start, _refused(info))

    def close(self) -> None:
        if self._plain is not None:
            self._plain.close()

    def read(self, file: ListedFile) -> bytes:
        return self._bytes(file.location)

    def read_image(self, file: ListedFile) -> bytes | np.ndarray:
        if not isinstance(file.location, ArrayLocation):
            return self.read(file)
        span: range = file.location.container
        return self._cache.image(file.location, len(span), lambda: io.BytesIO(self._bytes(span)))

    def _bytes(self, span: range) -> bytes:
        try:
            with reading(self.listing.shown):
                with self._lock:
                    if self._plain is None:
                        self._plain = _unpacked(self._path)
                content = os.pread(self._plain.fileno(), len(span), span.start)
        except DAMAGED:
            raise BadImageError("damaged in the tar") from None
        if len(content) < len(span):
            raise BadImageError("truncated")
        return content


def _refused(info: tarfile.TarInfo) -> str | None:
    """Returns why a member cannot be read, or None if it can be read."""
    if not info.isreg():
        return "a link or device in the tar"
    return "packed in an unusual way, pack it again" if info.issparse() else size_problem(info.name, info.size)


def _first_bytes(tar: tarfile.TarFile, info: tarfile.TarInfo, count: int) -> bytes:
    content = tar.extractfile(info)
    return b"" if content is None else content.read(count)


def _unpacked(path: str) -> IO[bytes]:
    """Returns the open tar. A compressed tar is unpacked into an unnamed temporary file, which is returned instead."""
    file = open(path, "rb")  # closed by its reader
    start = file.read(8)
    packing = next((name for magic, name in formats.PACKED_MAGIC.items() if start.startswith(magic)), None)
    if packing is None:
        return file
    with file:
        whole = tempfile.TemporaryFile()
        try:
            with OPEN[packing](path, "rb") as content:
                shutil.copyfileobj(content, whole, CHUNK)
            whole.flush()
        except OSError as error:
            whole.close()
            if error.errno is None:  # so gzip and bz2 report damage
                raise tarfile.ReadError(str(error)) from error
            where = f"unpacked into {one_line(tempfile.gettempdir())}" if error.errno == errno.ENOSPC else "unpacked"
            raise StorageError(f"{one_line(path)}: cannot be {where} ({error.strerror or error})") from error
        return whole


@contextlib.contextmanager
def open_tar(path: str, shown: str) -> Iterator[Reader]:
    """Yields the reader of a tar. Raises UsageError if the tar is damaged, and StorageError if it cannot be read."""
    try:
        reader = TarReader(path, shown)
    except (OSError, *DAMAGED) as error:
        if isinstance(error, OSError) and error.errno is not None:  # without a number: a damaged gzip
            raise StorageError(f"{shown}: cannot be read ({error.strerror})") from error
        named = shown.lower().endswith(formats.TARS)
        what = "is a damaged tar" if named else formats.conversion_advice(shown) or "is packed, but no tar"
        raise UsageError(f"dataset.path={shown}: {what}, {EXPECTED}") from None
    with contextlib.closing(reader):
        yield reader
