"""What a folder, a zip, a tar or a single file holds: the pictures, and the bytes of each."""

from __future__ import annotations

import os
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from gan_cli.errors import StorageError, UsageError, few, one_line
from gan_cli.image_files import arrays, formats
from gan_cli.image_files import own_outputs as own
from gan_cli.image_files.arrays import ArrayPlace
from gan_cli.image_files.formats import READ
from gan_cli.image_files.own_outputs import Own
from gan_cli.image_files.problems import BadPicture

if TYPE_CHECKING:
    import numpy as np

__all__ = ["READ", "BadPicture", "File", "Listing", "Reader", "opened"]
TABLE = "labels.csv"
TABLES = (".csv", ".tsv", ".txt", ".json", ".jsonl")  # what tables of other names are called
MOST_CANDIDATES = 1000
JUNK = ("__macosx", "thumbs.db", "desktop.ini")
MOST_FILES = 10_000_000
EXPECTED = "expected a folder, zip or tar of pictures"
Begins = Callable[[int], bytes]  # so many of a file's first bytes, or all that there are


@dataclass(frozen=True, slots=True)
class File:
    """A picture, or what goes by a picture's name: the parts of its path, and why it is not even opened.

    `foreign`: of a kind that is not read, so that it does not decide what the folders around it are.
    """

    parts: tuple[str, ...]
    place: Any
    bad: str | None = None
    foreign: bool = False

    @property
    def name(self) -> str:
        return one_line("/".join(self.parts), 120)


@dataclass
class Listing:
    """What there is: pictures, folders down to the second level, tables of labels, arrays, and how much else.

    `unused` are arrays of other things than pictures, `values` those of them that can be read, `ways` counts by their
    kind other files that may hold pictures, and `first_way` says of the first of these what to do with it.
    """

    shown: str
    zipped: bool = False
    files: list[File] = field(default_factory=list)
    folders: set[tuple[str, ...]] = field(default_factory=set)
    tables: list[File] = field(default_factory=list)
    candidates: list[File] = field(default_factory=list)
    own: list[Own] = field(default_factory=list)
    arrays: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    values: list[File] = field(default_factory=list)
    others: int = 0
    ways: Counter[str] = field(default_factory=Counter)
    first_way: str = ""

    def add(self, parts: tuple[str, ...], place: Any, size: int, begins: Begins, bad: str | None = None) -> None:
        """A file by its name, or where its ending is none or unknown by the bytes with which it begins."""
        self.folders.update(parts[:depth] for depth in (1, 2) if depth < len(parts))
        name = parts[-1]
        suffix, refused = formats.suffix_of(name), formats.refusal_of(name)
        if suffix in READ:
            self.files.append(File(parts, place, bad))
        elif refused is not None:
            self.files.append(File(parts, place, refused, foreign=True))
        elif suffix == ".npy":
            self.add_array(parts, place, size, begins, bad)
        elif name.lower() == TABLE:
            self.tables.append(File(parts, place, bad))
        elif bad is not None or not formats.by_content(name) or not self._by_content(parts, place, begins):
            self._add_other(parts)
            if suffix in TABLES and len(self.candidates) < MOST_CANDIDATES:
                self.candidates.append(File(parts, place, bad))
        if len(self.files) + self.others > MOST_FILES:
            raise UsageError(f"dataset.path={self.shown}: holds more than {MOST_FILES:,} files")

    def _by_content(self, parts: tuple[str, ...], place: Any, begins: Begins) -> bool:
        try:
            start = begins(formats.BEGINNING)
        except (BadPicture, OSError):
            return False
        if formats.is_dicom(start):
            self.files.append(File(parts, place, formats.DICOM, foreign=True))
        elif formats.is_picture(start):
            self.files.append(File(parts, place))
        else:
            return False
        return True

    def add_array(
        self, parts: tuple[str, ...], place: Any, size: int, begins: Begins, bad: str | None = None, fewest: int = 2
    ) -> None:
        """The pictures of an npy, if it has at least `fewest` axes."""
        try:
            if bad is not None:
                raise BadPicture(bad)
            array = arrays.described(begins(arrays.BEGINNING), size)
        except BadPicture as error:
            self.files.append(File(parts, place, str(error)))
            return
        except OSError as error:
            self.files.append(File(parts, place, f"cannot be read: {error.strerror}"))
            return
        if array is None or len(array.shape) < fewest:
            self.unused.append(one_line(parts[-1].removesuffix(".npy"), 60))
            if size <= formats.MOST_FILE_BYTES:
                self.values.append(File(parts, place))
            return
        if "N" not in array.axes:
            self.files.append(File(parts, ArrayPlace(place, array, None)))
            return
        if len(self.files) + array.pictures > MOST_FILES:
            raise UsageError(f"dataset.path={self.shown}: holds more than {MOST_FILES:,} pictures")
        self.arrays.append(f"{one_line(parts[-1], 60)} taken as {array}")
        stem, width = parts[-1].removesuffix(".npy"), len(str(array.pictures - 1))
        names = (f"{stem}[{index:0{width}d}].npy" for index in range(array.pictures))
        self.files += [File((*parts[:-1], name), ArrayPlace(place, array, index)) for index, name in enumerate(names)]

    def _add_other(self, parts: tuple[str, ...], way: str | None = None) -> None:
        self.others += 1
        name = one_line("/".join(parts), 120)
        if parts[-1].lower().endswith((".zip", ".npz", *formats.TARS)):
            give = "unpack it and give that" if self.zipped else f"give that, dataset.path={self.shown}/{name}"
            way = f"it holds {name}: {give}"
        elif way is None:
            known = formats.way_of(parts[-1])
            way = None if known is None else f"{name}: {known}"
        if way is not None:
            self.ways[formats.suffix_of(parts[-1])[1:]] += 1
            self.first_way = self.first_way or way

    def describe_others(self, *, less: int = 0) -> str:
        """What else there is, in words: nothing, or a number with the kinds that may hold pictures.

        `less` of them are in use.
        """
        parts = []
        if self.others > less:
            named = ", ".join(f"{count:,} {kind}" for kind, count in self.ways.most_common(5))
            count = self.others - less
            parts.append(f"{count:,} other file{'' if count == 1 else 's'}{f' ({named})' if named else ''}")
        if self.unused:
            arrays = "array" if len(self.unused) == 1 else f"{len(self.unused):,} arrays"
            parts.append(f"{arrays} not used ({few(self.unused, 5)})")
        return ", ".join(parts)


class Reader(Protocol):
    """Gives the bytes of a file it has listed; BadPicture if it cannot. May be called from several threads."""

    listing: Listing

    def read(self, file: File) -> bytes: ...

    def picture(self, file: File) -> bytes | np.ndarray:
        """The bytes of a picture, or `[H, W]` or `[H, W, C]` of an array."""


@contextmanager
def opened(path: str) -> Iterator[Reader]:
    """The reader of a folder, zip, tar or single file; UsageError if it is none of these."""
    expanded = os.path.expanduser(path)
    shown = one_line(expanded)
    try:
        mode = os.stat(expanded).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise UsageError(f"dataset.path={shown}: not found, {EXPECTED}") from None
    except OSError as error:
        raise UsageError(f"dataset.path={shown}: cannot be read ({error.strerror})") from None
    if stat.S_ISDIR(mode):
        if own.kind_at(expanded) == own.RUN:
            raise UsageError(
                f"dataset.path={shown}: is a run of gan-train, whose pictures are grids; gan-sample ckpt=... "
                "format=images makes a folder of single ones"
            )
        from gan_cli.image_files.folders import FolderReader

        yield FolderReader(expanded, shown)
    elif stat.S_ISREG(mode):
        with _opened_file(expanded, shown) as reader:
            yield reader
    else:
        raise UsageError(f"dataset.path={shown}: neither a folder nor a file, {EXPECTED}")


def _opened_file(path: str, shown: str) -> AbstractContextManager[Reader]:
    from gan_cli.image_files import archives

    try:
        with open(path, "rb") as file:
            start = file.read(512)
    except PermissionError as error:
        raise UsageError(f"dataset.path={shown}: cannot be read ({error.strerror})") from None
    except OSError as error:
        raise StorageError(f"{shown}: cannot be read ({error.strerror})") from error
    name = shown.lower()
    if name.endswith((".zip", ".npz")) or start.startswith(formats.ZIP_MAGIC):
        return archives.opened_zip(path, shown)
    if name.endswith(READ) or formats.is_picture(start) or start.startswith(formats.NPY_MAGIC):
        return _opened_alone(path, shown)
    if name.endswith(formats.TARS) or formats.is_tar(start):
        return archives.opened_tar(path, shown)
    if zipfile.is_zipfile(path):  # with a program in front, which unpacks it
        return archives.opened_zip(path, shown)
    way = formats.DICOM if formats.is_dicom(start) else formats.way_of(name)
    raise UsageError(f"dataset.path={shown}: {way or f'neither a folder, a zip, a tar nor a picture, {EXPECTED}'}")


@contextmanager
def _opened_alone(path: str, shown: str) -> Iterator[Reader]:
    from gan_cli.image_files.folders import FolderReader

    yield FolderReader(path, shown, alone=True)


def is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in JUNK or name.endswith(own.CACHED)
