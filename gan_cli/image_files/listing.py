"""The list of the images in a folder, zip, tar or single file, and the protocol of the readers of these images."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from gan_cli.errors import UsageError, count_noun, first_few, one_line
from gan_cli.image_files import arrays, formats, own_outputs
from gan_cli.image_files.arrays import ArrayLocation
from gan_cli.image_files.formats import BadImageError
from gan_cli.image_files.own_outputs import OwnOutput

if TYPE_CHECKING:
    import numpy as np

TABLE = "labels.csv"
TABLES = (".csv", ".tsv", ".txt", ".json", ".jsonl")  # suffixes of possible tables of other names
MOST_CANDIDATES = 1000
JUNK = ("__macosx", "thumbs.db", "desktop.ini")
MOST_FILES = 10_000_000
EXPECTED = "expected a folder, zip or tar of images"
LINK, TOO_DEEP = "link", "too deep"  # why a file or folder is not read
MOST_LEVELS = 64  # of folders in folders
ReadStart = Callable[[int], bytes]  # reads this many first bytes of a file


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file that is an image by its name or content."""

    parts: tuple[str, ...]  # of its path
    location: Any  # what the reader needs to read the file
    bad: str | None = None  # why the image cannot be used
    foreign: bool = False  # of an image format that is not read, so it does not influence which folders are classes

    @property
    def name(self) -> str:
        """The path, shortened for messages."""
        return one_line("/".join(self.parts), 120)


@dataclass
class Listing:
    """The content of a path."""

    shown: str
    zipped: bool = False
    links_followed: bool = False
    files: list[ListedFile] = field(default_factory=list)  # the images
    folders: set[tuple[str, ...]] = field(default_factory=set)  # the sub-folders of the first two levels
    tables: list[ListedFile] = field(default_factory=list)  # files named labels.csv
    possible_tables: list[ListedFile] = field(default_factory=list)  # other files that may be tables
    own: list[OwnOutput] = field(default_factory=list)  # the outputs of gan-cli
    arrays: list[str] = field(default_factory=list)  # descriptions of the arrays of images
    unused_arrays: list[str] = field(default_factory=list)  # names of all other arrays
    values: list[ListedFile] = field(default_factory=list)  # those of the other arrays that can be read
    others: int = 0  # the number of remaining files
    container_kinds: Counter[str] = field(default_factory=Counter)  # of remaining files that may hold images, by suffix
    first_advice: str = ""  # about the first of these files
    # Links that are not followed and paths that are too deep, by LINK and TOO_DEEP. If `links_followed`, only links
    # that are never followed are among them.
    skipped: dict[str, list[str]] = field(default_factory=dict)

    def add(
        self, parts: tuple[str, ...], location: Any, size: int, read_start: ReadStart, bad: str | None = None
    ) -> None:
        """Adds a file, recognized by its suffix. If its suffix is missing or unknown, its first bytes are read."""
        self.folders.update(parts[:depth] for depth in (1, 2) if depth < len(parts))
        name, suffix = parts[-1], formats.suffix_of(parts[-1])
        if suffix in formats.READ_SUFFIXES:
            self.files.append(ListedFile(parts, location, bad))
        elif suffix in formats.UNREAD_IMAGE_SUFFIXES:
            self.files.append(ListedFile(parts, location, formats.conversion_advice(name), foreign=True))
        elif suffix == ".npy":
            self.add_array(parts, location, size, read_start, bad)
        elif name.lower() == TABLE:
            self.tables.append(ListedFile(parts, location, bad))
        else:
            start = b""
            if bad is None and formats.needs_content_check(name):
                with contextlib.suppress(BadImageError, OSError):
                    start = read_start(formats.HEADER_BYTES)
            if formats.is_dicom(start):
                self.files.append(ListedFile(parts, location, formats.DICOM, foreign=True))
            elif formats.is_image(start):
                self.files.append(ListedFile(parts, location))
            else:
                self._add_other(ListedFile(parts, location, bad))
        if len(self.files) + self.others > MOST_FILES:
            raise UsageError(f"dataset.path={self.shown}: holds more than {MOST_FILES:,} files")

    def add_array(
        self, parts: tuple[str, ...], location: Any, size: int, read_start: ReadStart, bad: str | None, fewest: int = 2
    ) -> None:
        """Adds the images of an npy. An array with fewer than `fewest` axes is not taken as images."""
        array = None
        try:
            if bad is None:
                array = arrays.parse_array_header(read_start(arrays.HEADER_BYTES), size)
        except BadImageError as error:
            bad = str(error)
        except OSError as error:
            bad = f"cannot be read: {error.strerror}"
        stem = parts[-1].removesuffix(".npy")
        if bad is not None:
            self.files.append(ListedFile(parts, location, bad))
        elif array is None or len(array.shape) < fewest:
            self.unused_arrays.append(one_line(stem, 60))
            if size <= formats.MOST_FILE_BYTES:
                self.values.append(ListedFile(parts, location))
        elif "N" not in array.axes:
            self.arrays.append(f"{one_line(parts[-1], 60)} taken as one image, {array}")
            self.files.append(ListedFile(parts, ArrayLocation(location, array, None)))
        else:
            if len(self.files) + array.image_count > MOST_FILES:
                raise UsageError(f"dataset.path={self.shown}: holds more than {MOST_FILES:,} images")
            self.arrays.append(f"{one_line(parts[-1], 60)} taken as {array}")
            width = len(str(array.image_count - 1))
            for index in range(array.image_count):
                names = (*parts[:-1], f"{stem}[{index:0{width}d}].npy")
                self.files.append(ListedFile(names, ArrayLocation(location, array, index)))

    def _add_other(self, file: ListedFile) -> None:
        """Counts a file that is no image. If it may hold images, it is counted by suffix and advice is kept."""
        self.others += 1
        name, suffix = file.parts[-1], formats.suffix_of(file.parts[-1])
        if suffix in TABLES and len(self.possible_tables) < MOST_CANDIDATES:
            self.possible_tables.append(file)
        if name.lower().endswith((".zip", ".npz", *formats.TARS)):
            step = "unpack it and use that" if self.zipped else f"use that, dataset.path={self.shown}/{file.name}"
            advice = f"it holds {file.name}: {step}"
        elif (known := formats.conversion_advice(name)) is not None:
            advice = f"{file.name}: {known}"
        else:
            return
        self.container_kinds[suffix[1:]] += 1
        self.first_advice = self.first_advice or advice

    def skip(self, why: str, parts: tuple[str, ...]) -> None:
        """Notes a path that is not read. `why` is LINK or TOO_DEEP."""
        self.skipped.setdefault(why, []).append(one_line("/".join(parts), 120))

    def describe_skipped(self) -> list[str]:
        """Returns a text for the links that are not followed, and one for the paths that are too deep, if any."""
        texts = []
        if links := self.skipped.get(LINK, []):
            where, advice = "to /dev, /proc, /sys or a folder that contains this one", ""
            if not self.links_followed:
                where = "out of the folder"
                advice = f": dataset.follow_links=true follows {'it' if len(links) == 1 else 'them'}"
            texts.append(f"{count_noun(len(links), 'link')} {where} not followed ({first_few(links)}){advice}")
        if deep := self.skipped.get(TOO_DEEP, []):
            named = one_line(deep[0], 20)
            texts.append(f"{count_noun(len(deep), 'path')} not read, more than {MOST_LEVELS} levels deep ({named})")
        return texts

    def describe_others(self, *, less: int = 0) -> str:
        """Describes the other files, but for the `less` of them in use, and the unused arrays, if there are any."""
        parts = []
        if self.others > less:
            named = ", ".join(f"{count:,} {kind}" for kind, count in self.container_kinds.most_common(5))
            parts.append(f"{count_noun(self.others - less, 'other file')}{f' ({named})' if named else ''}")
        if self.unused_arrays:
            unused = "array" if len(self.unused_arrays) == 1 else f"{len(self.unused_arrays):,} arrays"
            parts.append(f"{unused} not used ({first_few(self.unused_arrays, 5)})")
        return ", ".join(parts)


class ImageSource(Protocol):
    """Reads the images that it has listed. `read_image` may be called from several threads."""

    listing: Listing

    def read_image(self, file: ListedFile) -> bytes | np.ndarray:
        """Reads an encoded image as bytes, or one of an array as `[H, W]` or `[H, W, C]`. Raises BadImageError."""


class Reader(ImageSource, Protocol):
    """Reads any file that it has listed. `read` may be called from several threads."""

    def read(self, file: ListedFile) -> bytes:
        """Reads the bytes of a file. Raises BadImageError if the file cannot be read."""


def is_junk(name: str) -> bool:
    """Returns whether a file or folder is skipped silently: hidden, of the operating system, or a cache of gan-cli."""
    return name.startswith(".") or name.lower() in JUNK or name.endswith(own_outputs.CACHE_SUFFIX)
