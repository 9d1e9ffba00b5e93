"""What a folder or a zip holds: the pictures, and the bytes of each. Nothing is extracted to the disk."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from gan_cli.errors import StorageError, UsageError, one_line
from gan_cli.imagefolder import own
from gan_cli.imagefolder.own import Own

TABLE = "labels.csv"
TABLES = (".csv", ".tsv", ".txt", ".json", ".jsonl")  # what tables of other names are called
MOST_CANDIDATES = 1000
READ = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
FOREIGN = (
    ".apng", ".avif", ".cr2", ".dng", ".eps", ".gif", ".heic", ".heif", ".ico", ".jfif", ".jp2", ".jxl", ".nef",
    ".pbm", ".pgm", ".pnm", ".ppm", ".psd", ".svg", ".tga", ".tif", ".tiff",
)  # fmt: skip
JUNK = ("__macosx", "thumbs.db", "desktop.ini")
MOST_FILES = 10_000_000
MOST_FILE_BYTES = 256 * 2**20


class BadPicture(Exception):
    """A picture that cannot be used; the text says why in a few words."""


@dataclass(frozen=True, slots=True)
class File:
    """A picture, or what goes by a picture's name: the parts of its path, and why it is not even opened."""

    parts: tuple[str, ...]
    place: str | zipfile.ZipInfo
    bad: str | None = None

    @property
    def name(self) -> str:
        return one_line("/".join(self.parts), 120)


@dataclass
class Listing:
    """What a folder or zip holds: pictures, folders down to the second level, tables of labels, and how much else.

    `candidates` are the first of other files that may be tables; `own` is what was left out as it is of gan-cli.
    """

    shown: str
    zipped: bool = False
    files: list[File] = field(default_factory=list)
    folders: set[tuple[str, ...]] = field(default_factory=set)
    tables: list[File] = field(default_factory=list)
    candidates: list[File] = field(default_factory=list)
    own: list[Own] = field(default_factory=list)
    others: int = 0

    def add(self, parts: tuple[str, ...], place: str | zipfile.ZipInfo, bad: str | None = None) -> None:
        self.folders.update(parts[:depth] for depth in (1, 2) if depth < len(parts))
        suffix = os.path.splitext(parts[-1])[1].lower()
        if suffix in READ:
            self.files.append(File(parts, place, bad))
        elif suffix in FOREIGN:
            self.files.append(File(parts, place, f"{suffix[1:]} is not read, convert it to png"))
        elif parts[-1].lower() == TABLE:
            self.tables.append(File(parts, place, bad))
        else:
            self.others += 1
            if suffix in TABLES and len(self.candidates) < MOST_CANDIDATES:
                self.candidates.append(File(parts, place, bad))
        if len(self.files) + self.others > MOST_FILES:
            raise UsageError(f"dataset.path={self.shown}: holds more than {MOST_FILES:,} files")


class Reader(Protocol):
    """Gives the bytes of a file it has listed; BadPicture if it cannot. May be called from several threads."""

    listing: Listing

    def read(self, file: File) -> bytes: ...


@contextmanager
def opened(path: str) -> Iterator[Reader]:
    """The reader of a folder or zip; UsageError if it is neither."""
    expanded = os.path.expanduser(path)
    shown = one_line(expanded)
    try:
        mode = os.stat(expanded).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise UsageError(f"dataset.path={shown}: not found, expected a folder or zip of pictures") from None
    except OSError as error:
        raise UsageError(f"dataset.path={shown}: cannot be read ({error.strerror})") from None
    if stat.S_ISDIR(mode):
        if own.kind_at(expanded) == own.RUN:
            raise UsageError(
                f"dataset.path={shown}: is a run of gan-train, whose pictures are grids; gan-sample ckpt=... "
                "format=images makes a folder of single ones"
            )
        yield FolderReader(expanded, shown)
    elif stat.S_ISREG(mode):
        with _archive(expanded, shown) as archive:
            yield ZipReader(archive, shown)
    else:
        raise UsageError(f"dataset.path={shown}: neither a folder nor a zip, expected a folder or zip of pictures")


def signature(path: str) -> str:
    """32 hex digits that differ once a file below the folder `path`, or the zip `path`, has another name, size or time.

    Nothing is kept of what was looked at, so that a million pictures take no memory. OSError if there is no such path.
    """
    status = os.stat(path)
    if not stat.S_ISDIR(status.st_mode):
        return _digest(f"{status.st_size} {status.st_mtime_ns}").hex()
    total = 0  # a sum, which does not depend on the order in which a folder gives its files
    for parts, item in _below(path, in_order=False):
        total += int.from_bytes(_digest("/".join(parts) + ("/" if item is None else f"\0{_state(item)}")), "big")
    return f"{total % 2**128:032x}"


def _state(item: os.DirEntry[str]) -> str:
    try:
        status = item.stat()
    except OSError:
        return "a link that leads nowhere"
    return f"{status.st_size} {status.st_mtime_ns} {status.st_mode}"  # the mode: what could not be read may be now


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).digest()


def _below(
    path: str, *, in_order: bool, left_out: list[Own] | None = None, meant: str | None = None
) -> Iterator[tuple[tuple[str, ...], os.DirEntry[str] | None]]:
    """The parts of each folder (with None) and of each file below `path`.

    Each folder comes once: real ones first, then those that only links lead to. Runs and exports of ours do not come;
    with `left_out`, which gets all that is left out, our samples do not either, unless they are `meant`.
    """
    seen: set[str] = set()
    folders: list[tuple[str, tuple[str, ...]]] = [(path, ())]
    links: list[tuple[str, tuple[str, ...]]] = []
    while folders or links:
        folder, parts = folders.pop() if folders else links.pop(0)
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        kind = own.kind_at(folder) if parts else None
        if kind is not None:
            if left_out is not None:
                left_out.append(Own(kind, parts))
            continue
        yield parts, None
        items = _scanned(folder)
        if in_order:
            items = iter(sorted(items, key=lambda item: item.name))
        if left_out is not None:
            listed = list(items)
            ours = own.beside_sidecars([item.name for item in listed], partial(own.head_in, folder))
            left_out += [Own(each, (*parts, name)) for name, each in ours.items() if each != meant]
            items = iter([item for item in listed if ours.get(item.name, meant) == meant])
        for item in items:
            below = (*parts, item.name)
            if item.is_dir(follow_symlinks=False):
                folders.append((item.path, below))
            elif item.is_symlink() and os.path.isdir(item.path):
                links.append((item.path, below))
            else:
                yield below, item


def _scanned(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as items:
            yield from (item for item in items if not _is_junk(item.name))
    except PermissionError as error:
        raise UsageError(f"dataset.path: the folder {one_line(folder)} cannot be read ({error.strerror})") from None
    except OSError as error:
        raise StorageError(f"{one_line(folder)}: cannot be read ({error.strerror})") from error


class FolderReader:
    def __init__(self, path: str, shown: str) -> None:
        self.listing = Listing(shown)
        self._walk(path)
        if not self.listing.files and any(each.kind == own.SAMPLES for each in self.listing.own):
            self.listing = Listing(shown)  # nothing but samples of ours: they are meant
            self._walk(path, meant=own.SAMPLES)

    def _walk(self, path: str, meant: str | None = None) -> None:
        for parts, item in _below(path, in_order=True, left_out=self.listing.own, meant=meant):
            if item is not None:
                self.listing.add(parts, item.path)
            elif 0 < len(parts) < 3:
                self.listing.folders.add(parts)

    def read(self, file: File) -> bytes:
        path = str(file.place)
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                raise BadPicture("not a regular file")
            if status.st_size > MOST_FILE_BYTES:
                raise BadPicture(f"larger than {MOST_FILE_BYTES >> 20} MiB")
            # Should it have become a pipe meanwhile, opening it must not wait for a writer.
            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as opened:
                return opened.read(MOST_FILE_BYTES)
        except OSError as error:
            return _unreadable(error, path, os.path.islink(path))


def _unreadable(error: OSError, path: str, link: bool) -> bytes:
    if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
        raise BadPicture("a link that leads nowhere" if link else "gone") from None
    if error.errno in (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG):
        raise BadPicture(f"cannot be read: {error.strerror}") from None
    raise StorageError(f"{one_line(path)}: cannot be read ({error.strerror})") from error


class ZipReader:
    """Nothing is extracted to the disk."""

    def __init__(self, archive: zipfile.ZipFile, shown: str) -> None:
        self.listing = Listing(shown, zipped=True)
        self._archive = archive
        self._lock = threading.Lock()
        members = [(_parts(info.filename), info) for info in archive.infolist()]
        places = dict(members)
        ours = own.in_archive(places, lambda parts: self._head(places[parts]))
        self._list(members, ours)
        if not self.listing.files and any(each.kind == own.SAMPLES for each in ours):
            self.listing = Listing(shown, zipped=True)  # as of a folder
            self._list(members, [each for each in ours if each.kind != own.SAMPLES])

    def _list(self, members: list[tuple[tuple[str, ...], zipfile.ZipInfo]], ours: list[Own]) -> None:
        self.listing.own = ours
        left_out = {each.parts for each in ours}
        seen: set[tuple[str, ...]] = set()
        for parts, info in members:
            if not parts or any(map(_is_junk, parts)):
                continue
            if any(parts[:depth] in left_out for depth in range(1, len(parts) + 1)):
                continue
            if info.is_dir():
                self.listing.folders.update({parts[:1], parts[:2]})
                continue
            self.listing.add(parts, info, "twice in the zip" if parts in seen else _refused(info))
            seen.add(parts)

    def _head(self, info: zipfile.ZipInfo) -> bytes:
        try:
            return b"" if _refused(info) else self.read(File((), info))[: own.HEAD]
        except BadPicture:
            return b""

    def read(self, file: File) -> bytes:
        assert isinstance(file.place, zipfile.ZipInfo)
        try:
            with self._lock, self._archive.open(file.place) as member:
                return member.read()
        except OSError as error:
            if error.errno in (None, errno.EINVAL):  # sought where the damaged directory says
                raise BadPicture("damaged in the zip") from None
            raise StorageError(f"{self.listing.shown}: cannot be read ({error.strerror})") from error
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, struct.error):
            raise BadPicture("damaged in the zip") from None


def _parts(name: str) -> tuple[str, ...]:
    """Some Windows programs write backslashes, some others ./ in front."""
    return tuple(part for part in name.replace("\\", "/").split("/") if part not in ("", ".", ".."))


def _refused(info: zipfile.ZipInfo) -> str | None:
    if info.flag_bits & 1:
        return "encrypted"
    if info.file_size > MOST_FILE_BYTES:
        return f"larger than {MOST_FILE_BYTES >> 20} MiB"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "packed in an unusual way, zip it anew"
    return None


@contextmanager
def _archive(path: str, shown: str) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except OSError as error:
        if isinstance(error, PermissionError):
            raise UsageError(f"dataset.path={shown}: cannot be read ({error.strerror})") from None
        raise StorageError(f"{shown}: cannot be read ({error.strerror})") from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, struct.error, IndexError):
        named = shown.lower().endswith(".zip")
        what = "is a damaged zip" if named else "is neither a folder nor a zip"
        raise UsageError(f"dataset.path={shown}: {what}, expected a folder or zip of pictures") from None
    with archive:
        yield archive


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in JUNK or name.endswith(own.CACHED)
