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
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from gan_cli.errors import StorageError, UsageError, one_line
from gan_cli.image_files import arrays, formats, own_outputs
from gan_cli.image_files.archive_members import DAMAGED, member_path
from gan_cli.image_files.arrays import ArrayCache, ArrayLocation
from gan_cli.image_files.listing import EXPECTED, BadImageError, ListedFile, Listing, Reader, ReadStart, is_junk
from gan_cli.image_files.own_outputs import OwnOutput

if TYPE_CHECKING:
    import numpy as np

OPEN: dict[str, Callable[..., Any]] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}
CHUNK = 1 << 20


class ByteSpan(NamedTuple):
    """Where the bytes of a member are in the uncompressed tar: the index of the first byte, and the number of bytes."""

    start: int
    size: int


class TarReader:
    """Lists and reads the images in a tar. A compressed tar is unpacked to an unnamed file at the first read."""

    def __init__(self, path: str, shown: str) -> None:
        self.listing = Listing(shown, zipped=True)
        self._path = path
        self._lock = threading.Lock()
        self._held = ArrayCache()
        self._plain: IO[bytes] | None = None
        heads: dict[tuple[str, ...], bytes] = {}
        members = self._list([], heads)
        ours = own_outputs.outputs_in_archive(members, lambda parts: heads.get(parts, b""))
        if ours:  # they are known only after the whole tar was listed
            self._list(ours)
            if not self.listing.files and any(each.kind == own_outputs.SAMPLES for each in ours):
                self._list(own_outputs.without_samples(ours))  # only samples of gan-cli: the user wants these

    def _list(self, ours: list[OwnOutput], heads: dict[tuple[str, ...], bytes] | None = None) -> set[tuple[str, ...]]:
        """Lists all members except `ours`, the outputs of gan-cli. Returns the paths of the listed members.

        If `heads` is given, adds to it, for each path, the bytes that identify outputs of gan-cli.
        """
        self.listing = Listing(self.listing.shown, zipped=True)
        self.listing.own = ours
        left_out, seen = {each.parts for each in ours}, set()
        with tarfile.open(self._path, "r|*", bufsize=CHUNK) as tar:
            for member in tar:
                parts = member_path(member.name)
                if not parts or any(map(is_junk, parts)) or own_outputs.is_below(parts, left_out):
                    continue
                if member.isdir():
                    self.listing.folders.update({parts[:1], parts[:2]})
                elif (
                    heads is not None
                    and member.isreg()
                    and (marks := own_outputs.identifying_bytes(parts[-1], _opened_in(tar, member)))
                ):
                    heads[parts] = marks
                if not member.isdir():
                    self._add(tar, member, parts, "twice in the tar" if parts in seen else None)
                seen.add(parts)
        return seen

    def _add(self, tar: tarfile.TarFile, member: tarfile.TarInfo, parts: tuple[str, ...], bad: str | None) -> None:
        if not member.isreg() or member.issparse():
            bad = "a link or device in the tar" if not member.isreg() else "packed in an unusual way, pack it anew"
        elif member.size > formats.MOST_FILE_BYTES and not parts[-1].lower().endswith(".npy"):
            bad = f"larger than {formats.MOST_FILE_BYTES >> 20} MiB"

        read_start = _opened_in(tar, member)
        self.listing.add(parts, ByteSpan(member.offset_data, member.size), member.size, read_start, bad)

    def close(self) -> None:
        """Closes the tar."""
        if self._plain is not None:
            self._plain.close()

    def read(self, file: ListedFile) -> bytes:
        return self._bytes(file.location)

    def read_image(self, file: ListedFile) -> bytes | np.ndarray:
        if not isinstance(file.location, ArrayLocation):
            return self.read(file)
        span: ByteSpan = file.location.container
        return arrays.image_in_array(
            self._held.get(span, span.size, lambda: io.BytesIO(self._bytes(span))), file.location
        )

    def _bytes(self, span: ByteSpan) -> bytes:
        try:
            with self._lock:
                if self._plain is None:
                    self._plain = _unpacked(self._path)
            content = os.pread(self._plain.fileno(), span.size, span.start)
        except DAMAGED:
            raise BadImageError("damaged in the tar") from None
        except OSError as error:
            raise StorageError(f"{self.listing.shown}: cannot be read ({error.strerror})") from error
        if len(content) < span.size:
            raise BadImageError("truncated")
        return content


def _opened_in(tar: tarfile.TarFile, member: tarfile.TarInfo) -> ReadStart:
    """Returns a function that reads the first bytes of a member."""

    def read_start(count: int) -> bytes:
        content = tar.extractfile(member)
        return b"" if content is None else content.read(count)

    return read_start


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
            where = f"unpacked into {one_line(tempfile.gettempdir())}" if error.errno == errno.ENOSPC else "unpacked"
            raise StorageError(f"{one_line(path)}: cannot be {where} ({error.strerror or error})") from error
        return whole


@contextmanager
def open_tar(path: str, shown: str) -> Iterator[Reader]:
    """Yields the reader of a tar. Raises UsageError if the tar is damaged, and StorageError if it cannot be read."""
    try:
        reader = TarReader(path, shown)
    except OSError as error:
        if error.errno is None:  # damaged gzip
            raise _damaged_tar(shown) from None
        raise StorageError(f"{shown}: cannot be read ({error.strerror})") from error
    except DAMAGED:
        raise _damaged_tar(shown) from None
    with contextlib.closing(reader):
        yield reader


def _damaged_tar(shown: str) -> UsageError:
    named = shown.lower().endswith(formats.TARS)
    what = "is a damaged tar" if named else formats.conversion_advice(shown) or "is packed, but no tar"
    return UsageError(f"dataset.path={shown}: {what}, {EXPECTED}")
