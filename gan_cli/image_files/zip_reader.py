"""Reads images in a zip or npz without extracting them to files."""

from __future__ import annotations

import contextlib
import errno
import re
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from typing import IO, TYPE_CHECKING, NamedTuple

from gan_cli.errors import StorageError, UsageError
from gan_cli.image_files import arrays, own_outputs
from gan_cli.image_files.archive_members import Member, list_archive, member_path, size_problem
from gan_cli.image_files.arrays import ArrayCache, ArrayLocation
from gan_cli.image_files.formats import BadImageError
from gan_cli.image_files.listing import EXPECTED, ListedFile, Listing, Reader
from gan_cli.storage.archive_errors import DAMAGED, reading

if TYPE_CHECKING:
    import numpy as np

SPLIT = re.compile("(?<![a-z])(train|test|val|valid|validation)(?![a-z])")


class ZipReader:
    """Lists and reads the images in a zip or npz."""

    def __init__(self, archive: zipfile.ZipFile, shown: str) -> None:
        self._archive = archive
        self._lock = threading.Lock()
        self._cache = ArrayCache()
        if shown.lower().endswith(".npz"):
            self.listing = Listing(shown, zipped=True)
            add_arrays(self.listing, archive, (), None)
            return
        by_path = {member_path(info.filename): info for info in archive.infolist()}
        self.listing = list_archive(shown, "zip", self._members, lambda parts: self._head(by_path[parts]))

    def _members(self) -> Iterator[Member]:
        for info in self._archive.infolist():
            parts, read_start = member_path(info.filename), partial(_first_bytes, self._archive, info)
            yield Member(parts, info.filename.endswith("/"), info, info.file_size, read_start, _refused(info))

    def _head(self, info: zipfile.ZipInfo) -> bytes:
        try:
            return b"" if _refused(info) else _first_bytes(self._archive, info, own_outputs.HEAD)
        except (BadImageError, OSError):
            return b""

    def read(self, file: ListedFile) -> bytes:
        assert isinstance(file.location, zipfile.ZipInfo)
        with self._readable(), self._lock, self._archive.open(file.location) as member:
            return member.read()

    def read_image(self, file: ListedFile) -> bytes | np.ndarray:
        if not isinstance(file.location, ArrayLocation):
            return self.read(file)
        member: zipfile.ZipInfo = file.location.container
        with self._readable():
            return self._cache.image(file.location, member.file_size, lambda: self._archive.open(member))

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        """While entered, turns errors of reading into BadImageError, or into StorageError if the disk fails."""
        try:
            yield
        except OSError as error:
            if error.errno in (None, errno.EINVAL):  # seek to a wrong offset in a damaged zip
                raise BadImageError("damaged in the zip") from None
            raise StorageError(f"{self.listing.shown}: cannot be read ({error.strerror})") from error
        except DAMAGED:
            raise BadImageError("damaged in the zip") from None


def _first_bytes(archive: zipfile.ZipFile, info: zipfile.ZipInfo, count: int) -> bytes:
    try:
        with archive.open(info) as member:
            return member.read(count)
    except DAMAGED:
        raise BadImageError("damaged in the zip") from None


class NpzMember(NamedTuple):
    """An array in an npz that lies in a folder."""

    path: str
    name: str
    size: int

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Opens the array. Raises BadImageError if the npz is damaged."""
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.name) as member:
                yield member
        except DAMAGED:
            raise BadImageError("damaged npz") from None


def add_arrays(listing: Listing, archive: zipfile.ZipFile, parts: tuple[str, ...], path: str | None) -> None:
    """Lists an npz: its arrays with the most axes, as others are labels. `parts` and `path` locate it in a folder."""
    members = [info for info in archive.infolist() if info.filename.lower().endswith(".npy")]
    axes: list[int] = []
    for info in members:
        with contextlib.suppress(BadImageError):
            array = arrays.parse_array_header(_first_bytes(archive, info, arrays.HEADER_BYTES), info.file_size)
            axes.append(0 if array is None else len(array.shape))
    for info in members:
        location = info if path is None else NpzMember(path, info.filename, info.file_size)
        inside = member_path(info.filename)
        names = (*parts[:-1], f"{parts[-1]}_{inside[-1]}") if parts else (*_split_of(inside[-1]), *inside)
        read_start = partial(_first_bytes, archive, info)
        listing.add_array(names, location, info.file_size, read_start, _refused(info), max(axes, default=2))


def _split_of(name: str) -> tuple[str, ...]:
    """Returns the split that a name such as `x_train.npy` contains, as a folder: `("train",)`, or `()` if not one."""
    words = SPLIT.findall(name.lower().removesuffix(".npy"))
    return (words[0],) if len(words) == 1 else ()


def _refused(info: zipfile.ZipInfo) -> str | None:
    """Returns why a member cannot be read, or None if it can be read."""
    if info.flag_bits & 1:
        return "encrypted"
    if problem := size_problem(info.filename, info.file_size):
        return problem
    stored = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    return None if stored else "packed in an unusual way, zip it again"


@contextlib.contextmanager
def open_zip(path: str, shown: str) -> Iterator[Reader]:
    """Yields the reader of a zip or npz. Raises UsageError if it is damaged, and StorageError if it cannot be read."""
    try:
        with reading(shown):
            archive = zipfile.ZipFile(path)
    except DAMAGED:
        kind = "npz" if shown.lower().endswith(".npz") else "zip"
        raise UsageError(f"dataset.path={shown}: is a damaged {kind}, {EXPECTED}") from None
    with archive:
        yield ZipReader(archive, shown)
