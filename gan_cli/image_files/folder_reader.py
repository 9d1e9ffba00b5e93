"""Reads a folder of images or a single file, following links without cycles. Computes a signature of a path."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import zipfile
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from gan_cli.errors import StorageError, UsageError, one_line
from gan_cli.image_files import arrays, formats, own_outputs
from gan_cli.image_files.arrays import ArrayCache, ArrayLocation
from gan_cli.image_files.listing import READ_SUFFIXES, BadImageError, ListedFile, Listing, is_junk
from gan_cli.image_files.own_outputs import OwnOutput

if TYPE_CHECKING:
    import numpy as np


def path_signature(path: str) -> str:
    """Returns 32 hex digits that change if `path`, or a file below it, is written, replaced, added or removed.

    Uses the names, sizes, times, modes and inodes of files, but not their contents. Raises OSError if `path` does not
    exist.
    """
    status = os.stat(path)
    if not stat.S_ISDIR(status.st_mode):
        return _digest(_state_of(status)).hex()
    total = 0  # a sum, so that the order of the files in a folder does not matter
    for parts, item in _below(path):
        total += int.from_bytes(_digest("/".join(parts) + ("/" if item is None else f"\0{_state(item)}")), "big")
    return f"{total % 2**128:032x}"


def _state(item: os.DirEntry[str]) -> str:
    """Returns `_state_of` for a folder entry, or a fixed text for a broken link."""
    try:
        return _state_of(item.stat())
    except OSError:
        return "a broken link"


def _state_of(status: os.stat_result) -> str:
    """Returns a text that changes if the file is written, is swapped with another file, or gets other permissions."""
    parts = (status.st_size, status.st_mtime_ns, status.st_mode, status.st_dev, status.st_ino, status.st_ctime_ns)
    return " ".join(map(str, parts))


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).digest()


def _below(
    path: str, left_out: list[OwnOutput] | None = None, wanted: str | None = None
) -> Iterator[tuple[tuple[str, ...], os.DirEntry[str] | None]]:
    """Yields each folder and each file below `path`, as its path parts and its folder entry (None for a folder).

    Each folder is yielded once. Folders that are reached without links come before those reached only through links.
    Runs and exports of gan-cli are skipped. If `left_out` is given, the files of a folder are sorted, other outputs of
    gan-cli are skipped too, except those of the kind `wanted`, and all skipped outputs are added to `left_out`.
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
        kind = own_outputs.output_kind_at(folder) if parts else None
        if kind is not None:
            if left_out is not None:
                left_out.append(OwnOutput(kind, parts))
            continue
        yield parts, None
        items = _scanned(folder)
        if left_out is not None:
            items = _without_own(sorted(items, key=lambda item: item.name), folder, parts, left_out, wanted)
        for item in items:
            below = (*parts, item.name)
            if item.is_dir(follow_symlinks=False):
                folders.append((item.path, below))
            elif item.is_symlink() and os.path.isdir(item.path):
                links.append((item.path, below))
            else:
                yield below, item


def _without_own(
    items: list[os.DirEntry[str]], folder: str, parts: tuple[str, ...], left_out: list[OwnOutput], wanted: str | None
) -> Iterator[os.DirEntry[str]]:
    """Returns the entries of a folder without outputs of gan-cli, except outputs of the kind `wanted`.

    The outputs that are skipped are added to `left_out`.
    """
    ours = own_outputs.files_with_sidecar([item.name for item in items], partial(own_outputs.read_head, folder))
    left_out += [OwnOutput(each, (*parts, name)) for name, each in ours.items() if each != wanted]
    return (item for item in items if ours.get(item.name, wanted) == wanted)


def _scanned(folder: str) -> Iterator[os.DirEntry[str]]:
    """Yields the entries of a folder, without junk files.

    Raises UsageError if the user has no permission to read the folder, and StorageError if reading fails.
    """
    try:
        with os.scandir(folder) as items:
            yield from (item for item in items if not is_junk(item.name))
    except PermissionError as error:
        raise UsageError(f"dataset.path: the folder {one_line(folder)} cannot be read ({error.strerror})") from None
    except OSError as error:
        raise StorageError(f"{one_line(folder)}: cannot be read ({error.strerror})") from error


class FolderReader:
    """Lists and reads the images in a folder. With `alone`, the path is a single file."""

    def __init__(self, path: str, shown: str, *, alone: bool = False) -> None:
        self.listing = Listing(shown)
        self._held = ArrayCache()
        if alone:
            name = os.path.basename(path)
            by_name = name.lower().endswith((*READ_SUFFIXES, ".npy"))
            if not by_name and formats.is_image(formats.read_start(path, formats.HEADER_BYTES)):
                self.listing.files.append(ListedFile((name,), path))
            else:
                self.listing.add((name,), path, os.path.getsize(path), partial(formats.read_start, path))
        else:
            self._walk(path)
            if not self.listing.files and any(each.kind == own_outputs.SAMPLES for each in self.listing.own):
                self.listing = Listing(shown)  # only samples of gan-cli: the user wants these
                self._walk(path, wanted=own_outputs.SAMPLES)

    def _walk(self, path: str, wanted: str | None = None) -> None:
        for parts, item in _below(path, self.listing.own, wanted):
            if item is None:
                if 0 < len(parts) < 3:
                    self.listing.folders.add(parts)
            elif parts[-1].lower().endswith(".npz"):
                self._add_npz(parts, item.path)
            else:
                size = _size(item) if parts[-1].lower().endswith(".npy") else 0
                self.listing.add(parts, item.path, size, partial(formats.read_start, item.path))

    def _add_npz(self, parts: tuple[str, ...], path: str) -> None:
        from gan_cli.image_files.zip_reader import add_arrays
        from gan_cli.storage.archive_errors import DAMAGED

        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise ValueError("not a regular file: opening a pipe would block")
            with zipfile.ZipFile(path) as archive:
                add_arrays(self.listing, archive, parts, path)
        except DAMAGED:
            self.listing.files.append(ListedFile(parts, path, "damaged npz"))
        except OSError as error:
            self.listing.files.append(ListedFile(parts, path, f"cannot be read: {error.strerror}"))

    def read_image(self, file: ListedFile) -> bytes | np.ndarray:
        if not isinstance(file.location, ArrayLocation):
            return self.read(file)
        container = file.location.container
        try:
            if isinstance(container, str):
                return arrays.image_in_array(arrays.map_array(container), file.location)
            return arrays.image_in_array(self._held.get(container, container.size, container.open), file.location)
        except OSError as error:
            raise _unreadable(error, str(container), link=False) from error

    def read(self, file: ListedFile) -> bytes:
        if hasattr(file.location, "open"):  # a member of an npz
            with file.location.open() as member:
                return member.read()
        return read_image_file(str(file.location))


def read_image_file(path: str) -> bytes:
    """Returns the bytes of a file. Raises BadImageError if it cannot be read, and StorageError if the disk fails."""
    try:
        if os.path.getsize(path) > formats.MOST_FILE_BYTES:
            raise BadImageError(f"larger than {formats.MOST_FILE_BYTES >> 20} MiB")
        return formats.read_start(path, formats.MOST_FILE_BYTES)
    except OSError as error:
        raise _unreadable(error, path, os.path.islink(path)) from None


def _size(item: os.DirEntry[str]) -> int:
    try:
        return item.stat().st_size
    except OSError:
        return 0


def _unreadable(error: OSError, path: str, link: bool) -> BadImageError | StorageError:
    """Returns BadImageError if only this image cannot be read, and StorageError if the disk fails."""
    if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
        return BadImageError("a broken link" if link else "gone")
    if error.errno in (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG):
        return BadImageError(f"cannot be read: {error.strerror}")
    return StorageError(f"{one_line(path)}: cannot be read ({error.strerror})")
