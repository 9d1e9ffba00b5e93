"""Reads a folder of images or a single file. Computes a signature of a path."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import zipfile
from functools import partial
from typing import TYPE_CHECKING

from gan_cli.errors import StorageError, one_line
from gan_cli.image_files import arrays, formats, own_outputs
from gan_cli.image_files.arrays import ArrayCache, ArrayLocation
from gan_cli.image_files.formats import BadImageError
from gan_cli.image_files.listing import ListedFile, Listing
from gan_cli.image_files.walk import walk

if TYPE_CHECKING:
    import numpy as np


def path_signature(path: str, *, follow_links: bool = True) -> str:
    """Returns 32 hex digits that change if `path`, or a file below it, is written, replaced, added or removed.

    Uses the names, sizes, times, modes and inodes of files, but not their contents. Of links that are not followed, see
    `walk`, only the name is used. Raises OSError if `path` does not exist.
    """
    status = os.stat(path)
    if not stat.S_ISDIR(status.st_mode):
        return _digest(_state_of(status)).hex()
    total = 0  # a sum, so that the order of the files in a folder does not matter
    for parts, item, skipped in walk(path, follow_links=follow_links):
        state = skipped or ("/" if item is None else f"\0{_state(item)}")
        total += int.from_bytes(_digest("/".join(parts) + state), "big")
    return f"{total % 2**128:032x}"


def _state(item: os.DirEntry[str]) -> str:
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


class FolderReader:
    """Lists and reads the images in a folder, walked as by `walk`. With `alone`, the path is a single file."""

    def __init__(self, path: str, shown: str, *, alone: bool = False, follow_links: bool = False) -> None:
        self.listing = Listing(shown, links_followed=follow_links)
        self._cache = ArrayCache()
        if alone:
            name = os.path.basename(path)
            by_name = name.lower().endswith((*formats.READ_SUFFIXES, ".npy"))
            if not by_name and formats.is_image(formats.read_start(path, formats.HEADER_BYTES)):
                self.listing.files.append(ListedFile((name,), path))
            else:
                self.listing.add((name,), path, os.path.getsize(path), partial(formats.read_start, path))
        else:
            self._walk(path)
            if not self.listing.files and any(each.kind == own_outputs.SAMPLES for each in self.listing.own):
                # Only samples of gan-cli: the user wants these.
                self.listing = Listing(shown, links_followed=follow_links)
                self._walk(path, wanted=own_outputs.SAMPLES)

    def _walk(self, path: str, wanted: str | None = None) -> None:
        own, follow_links = self.listing.own, self.listing.links_followed
        for parts, item, skipped in walk(path, follow_links=follow_links, left_out=own, wanted=wanted):
            if skipped is not None:
                self.listing.skip(skipped, parts)
            elif item is None:
                if 0 < len(parts) < 3:
                    self.listing.folders.add(parts)
            elif parts[-1].lower().endswith(".npz"):
                self._add_npz(parts, item.path)
            else:
                size = 0  # matters for arrays only
                if parts[-1].lower().endswith(".npy"):
                    with contextlib.suppress(OSError):
                        size = item.stat().st_size
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
                return arrays.image_in_file(container, file.location)
            return self._cache.image(file.location, container.size, container.open)
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


def _unreadable(error: OSError, path: str, link: bool) -> BadImageError | StorageError:
    """Returns BadImageError if only this image cannot be read, and StorageError if the disk fails."""
    if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
        return BadImageError("a broken link" if link else "gone")
    if error.errno in (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG):
        return BadImageError(f"cannot be read: {error.strerror}")
    return StorageError(f"{one_line(path)}: cannot be read ({error.strerror})")
