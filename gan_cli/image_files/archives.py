"""A zip or a tar of pictures, read where it is: nothing of it is written to a disk under a name of its own."""

from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import io
import lzma
import os
import re
import shutil
import struct
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from gan_cli.errors import StorageError, UsageError, one_line
from gan_cli.image_files import arrays, formats, own_outputs
from gan_cli.image_files.arrays import ArrayPlace, Held
from gan_cli.image_files.listing import EXPECTED, BadPicture, Begins, File, Listing, Reader, is_junk
from gan_cli.image_files.own_outputs import Own

if TYPE_CHECKING:
    import numpy as np

DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, tarfile.TarError, gzip.BadGzipFile, EOFError, ValueError,
    RuntimeError, struct.error, IndexError, TypeError, OverflowError, NotImplementedError,
)  # fmt: skip
OPEN: dict[str, Callable[..., Any]] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}
CHUNK = 1 << 20
SPLIT = re.compile("(?<![a-z])(train|test|val|valid|validation)(?![a-z])")


def _parts(name: str) -> tuple[str, ...]:
    """The folders and the name of a member, none of which leads out: some programs write backslashes or ./ in front."""
    return tuple(part for part in name.replace("\\", "/").split("/") if part not in ("", ".", ".."))


# --- zip ---------------------------------------------------------------------------------------------------------


class ZipReader:
    def __init__(self, archive: zipfile.ZipFile, shown: str) -> None:
        self.listing = Listing(shown, zipped=True)
        self._archive = archive
        self._lock = threading.Lock()
        self._held = Held()
        if shown.lower().endswith(".npz"):
            add_arrays(self.listing, archive, (), None)
            return
        members = [(_parts(info.filename), info) for info in archive.infolist()]
        places = dict(members)
        ours = own_outputs.in_archive(places, lambda parts: self._head(places[parts]))
        self._list(members, ours)
        if not self.listing.files and any(each.kind == own_outputs.SAMPLES for each in ours):
            self.listing = Listing(shown, zipped=True)  # as of a folder
            self._list(members, own_outputs.but_samples(ours))

    def _list(self, members: list[tuple[tuple[str, ...], zipfile.ZipInfo]], ours: list[Own]) -> None:
        self.listing.own = ours
        left_out, seen = {each.parts for each in ours}, set()
        for parts, info in members:
            if not parts or any(map(is_junk, parts)) or own_outputs.is_below(parts, left_out):
                continue
            if info.is_dir():
                self.listing.folders.update({parts[:1], parts[:2]})
                continue
            bad = "twice in the zip" if parts in seen else _refused(info)
            self.listing.add(parts, info, info.file_size, partial(_first_bytes, self._archive, info), bad)
            seen.add(parts)

    def _head(self, info: zipfile.ZipInfo) -> bytes:
        try:
            return b"" if _refused(info) else _first_bytes(self._archive, info, own_outputs.HEAD)
        except (BadPicture, OSError):
            return b""

    def read(self, file: File) -> bytes:
        assert isinstance(file.place, zipfile.ZipInfo)
        with self._readable(), self._lock, self._archive.open(file.place) as member:
            return member.read()

    def picture(self, file: File) -> bytes | np.ndarray:
        if not isinstance(file.place, ArrayPlace):
            return self.read(file)
        member: zipfile.ZipInfo = file.place.holder
        with self._readable():
            held = self._held.get(member, member.file_size, lambda: self._archive.open(member))
            return arrays.pixels_of(held, file.place)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (None, errno.EINVAL):  # sought where the damaged directory says
                raise BadPicture("damaged in the zip") from None
            raise StorageError(f"{self.listing.shown}: cannot be read ({error.strerror})") from error
        except DAMAGED:
            raise BadPicture("damaged in the zip") from None


def _first_bytes(archive: zipfile.ZipFile, info: zipfile.ZipInfo, count: int) -> bytes:
    try:
        with archive.open(info) as member:
            return member.read(count)
    except DAMAGED:
        raise BadPicture("damaged in the zip") from None


class NpzMember(NamedTuple):
    """An array of an npz that lies in a folder."""

    path: str
    name: str
    size: int

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.name) as member:
                yield member
        except DAMAGED:
            raise BadPicture("damaged npz") from None

    def open(self) -> contextlib.AbstractContextManager[IO[bytes]]:
        return self._opened()


def add_arrays(listing: Listing, archive: zipfile.ZipFile, parts: tuple[str, ...], path: str | None) -> None:
    """Lists the pictures of an npz: of its arrays those with the most axes, for others are labels or the like.

    `parts` and `path` are of the npz itself where it lies in a folder.
    """
    members = [info for info in archive.infolist() if info.filename.lower().endswith(".npy")]
    axes: list[int] = []
    for info in members:
        with contextlib.suppress(BadPicture):
            array = arrays.described(_first_bytes(archive, info, arrays.BEGINNING), info.file_size)
            axes.append(0 if array is None else len(array.shape))
    for info in members:
        place = info if path is None else NpzMember(path, info.filename, info.file_size)
        inside = _parts(info.filename)
        names = (*parts[:-1], f"{parts[-1]}_{inside[-1]}") if parts else (*_split_of(inside[-1]), *inside)
        begins = partial(_first_bytes, archive, info)
        listing.add_array(names, place, info.file_size, begins, _refused(info), max(axes, default=2))


def _split_of(name: str) -> tuple[str, ...]:
    """The split that the name of an array is about, as of `x_train.npy` or `test_images.npy`: as if in its folder."""
    words = SPLIT.findall(name.lower().removesuffix(".npy"))
    return (words[0],) if len(words) == 1 else ()


def _refused(info: zipfile.ZipInfo) -> str | None:
    if info.flag_bits & 1:
        return "encrypted"
    if info.file_size > formats.MOST_FILE_BYTES and not info.filename.lower().endswith(".npy"):
        return f"larger than {formats.MOST_FILE_BYTES >> 20} MiB"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "packed in an unusual way, zip it anew"
    return None


@contextmanager
def opened_zip(path: str, shown: str) -> Iterator[Reader]:
    try:
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise StorageError(f"{shown}: cannot be read ({error.strerror})") from error
    except DAMAGED:
        kind = "npz" if shown.lower().endswith(".npz") else "zip"
        raise UsageError(f"dataset.path={shown}: is a damaged {kind}, {EXPECTED}") from None
    with archive:
        yield ZipReader(archive, shown)


# --- tar ---------------------------------------------------------------------------------------------------------


class Span(NamedTuple):
    """Where the bytes of a member are in the tar once that is unpacked."""

    start: int
    size: int


class TarReader:
    """A packed tar is unpacked at the first picture that is asked for, into a file that has no name."""

    def __init__(self, path: str, shown: str) -> None:
        self.listing = Listing(shown, zipped=True)
        self._path = path
        self._lock = threading.Lock()
        self._held = Held()
        self._plain: IO[bytes] | None = None
        heads: dict[tuple[str, ...], bytes] = {}
        members = self._list([], heads)
        ours = own_outputs.in_archive(members, lambda parts: heads.get(parts, b""))
        if ours:  # what they are is known once all has been seen
            self._list(ours)
            if not self.listing.files and any(each.kind == own_outputs.SAMPLES for each in ours):
                self._list(own_outputs.but_samples(ours))  # as of a folder

    def _list(self, ours: list[Own], heads: dict[tuple[str, ...], bytes] | None = None) -> set[tuple[str, ...]]:
        """Lists all but what is ours, and gives the paths of all members; `heads` gets what tells ours, by its path."""
        self.listing = Listing(self.listing.shown, zipped=True)
        self.listing.own = ours
        left_out, seen = {each.parts for each in ours}, set()
        with tarfile.open(self._path, "r|*", bufsize=CHUNK) as tar:
            for member in tar:
                parts = _parts(member.name)
                if not parts or any(map(is_junk, parts)) or own_outputs.is_below(parts, left_out):
                    continue
                if member.isdir():
                    self.listing.folders.update({parts[:1], parts[:2]})
                elif (
                    heads is not None
                    and member.isreg()
                    and (marks := own_outputs.marks_of(parts[-1], _opened_in(tar, member)))
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

        begins = _opened_in(tar, member)
        self.listing.add(parts, Span(member.offset_data, member.size), member.size, begins, bad)

    def close(self) -> None:
        if self._plain is not None:
            self._plain.close()

    def read(self, file: File) -> bytes:
        return self._bytes(file.place)

    def picture(self, file: File) -> bytes | np.ndarray:
        if not isinstance(file.place, ArrayPlace):
            return self.read(file)
        span: Span = file.place.holder
        return arrays.pixels_of(self._held.get(span, span.size, lambda: io.BytesIO(self._bytes(span))), file.place)

    def _bytes(self, span: Span) -> bytes:
        try:
            with self._lock:
                if self._plain is None:
                    self._plain = _unpacked(self._path)
            content = os.pread(self._plain.fileno(), span.size, span.start)
        except DAMAGED:
            raise BadPicture("damaged in the tar") from None
        except OSError as error:
            raise StorageError(f"{self.listing.shown}: cannot be read ({error.strerror})") from error
        if len(content) < span.size:
            raise BadPicture("truncated")
        return content


def _opened_in(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Begins:
    def begins(count: int) -> bytes:
        content = tar.extractfile(member)
        return b"" if content is None else content.read(count)

    return begins


def _unpacked(path: str) -> IO[bytes]:
    """The tar itself, or what is packed in it, in a file without a name."""
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
def opened_tar(path: str, shown: str) -> Iterator[Reader]:
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
    what = "is a damaged tar" if named else formats.way_of(shown) or "is packed, but no tar"
    return UsageError(f"dataset.path={shown}: {what}, {EXPECTED}")
