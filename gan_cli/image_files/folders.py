"""A folder of pictures, or a single file: walked through links, but never in circles; and told from what it was."""

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
from gan_cli.image_files.arrays import ArrayPlace, Held
from gan_cli.image_files.listing import READ, BadPicture, Begins, File, Listing, is_junk
from gan_cli.image_files.own_outputs import Own

if TYPE_CHECKING:
    import numpy as np


def signature(path: str) -> str:
    """32 hex digits that differ once a file below the folder `path`, or the file `path`, is another or was written to.

    They go by name, size, time, place on the disk and time of the last change to that. Nothing is kept of what was
    looked at, so that a million pictures take no memory. OSError if there is no such path.
    """
    status = os.stat(path)
    if not stat.S_ISDIR(status.st_mode):
        return _digest(_state_of(status)).hex()
    total = 0  # a sum, which does not depend on the order in which a folder gives its files
    for parts, item in _below(path, in_order=False):
        total += int.from_bytes(_digest("/".join(parts) + ("/" if item is None else f"\0{_state(item)}")), "big")
    return f"{total % 2**128:032x}"


def _state(item: os.DirEntry[str]) -> str:
    try:
        status = item.stat()
    except OSError:
        return "a link that leads nowhere"
    return _state_of(status)


def _state_of(status: os.stat_result) -> str:
    """What an exchange of two files changes, too, even of equal size and time; the mode: what may be read now."""
    parts = (status.st_size, status.st_mtime_ns, status.st_mode, status.st_dev, status.st_ino, status.st_ctime_ns)
    return " ".join(map(str, parts))


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
        kind = own_outputs.kind_at(folder) if parts else None
        if kind is not None:
            if left_out is not None:
                left_out.append(Own(kind, parts))
            continue
        yield parts, None
        items = _scanned(folder)
        if in_order:
            items = iter(sorted(items, key=lambda item: item.name))
        if left_out is not None:
            items = _without_own(list(items), folder, parts, left_out, meant)
        for item in items:
            below = (*parts, item.name)
            if item.is_dir(follow_symlinks=False):
                folders.append((item.path, below))
            elif item.is_symlink() and os.path.isdir(item.path):
                links.append((item.path, below))
            else:
                yield below, item


def _without_own(
    items: list[os.DirEntry[str]], folder: str, parts: tuple[str, ...], left_out: list[Own], meant: str | None
) -> Iterator[os.DirEntry[str]]:
    ours = own_outputs.beside_sidecars([item.name for item in items], partial(own_outputs.head_in, folder))
    left_out += [Own(each, (*parts, name)) for name, each in ours.items() if each != meant]
    return (item for item in items if ours.get(item.name, meant) == meant)


def _scanned(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as items:
            yield from (item for item in items if not is_junk(item.name))
    except PermissionError as error:
        raise UsageError(f"dataset.path: the folder {one_line(folder)} cannot be read ({error.strerror})") from None
    except OSError as error:
        raise StorageError(f"{one_line(folder)}: cannot be read ({error.strerror})") from error


class FolderReader:
    """Of a folder, or of a single file: `alone`."""

    def __init__(self, path: str, shown: str, *, alone: bool = False) -> None:
        self.listing = Listing(shown)
        self._held = Held()
        if alone:
            name = os.path.basename(path)
            if formats.is_picture(_beginning(path)(formats.BEGINNING)) and not name.lower().endswith((*READ, ".npy")):
                self.listing.files.append(File((name,), path))
            else:
                self.listing.add((name,), path, os.path.getsize(path), _beginning(path))
        else:
            self._walk(path)
            if not self.listing.files and any(each.kind == own_outputs.SAMPLES for each in self.listing.own):
                self.listing = Listing(shown)  # nothing but samples of ours: they are meant
                self._walk(path, meant=own_outputs.SAMPLES)

    def _walk(self, path: str, meant: str | None = None) -> None:
        for parts, item in _below(path, in_order=True, left_out=self.listing.own, meant=meant):
            if item is None:
                if 0 < len(parts) < 3:
                    self.listing.folders.add(parts)
            elif parts[-1].lower().endswith(".npz"):
                self._add_npz(parts, item.path)
            else:
                size = _size(item) if parts[-1].lower().endswith(".npy") else 0
                self.listing.add(parts, item.path, size, _beginning(item.path))

    def _add_npz(self, parts: tuple[str, ...], path: str) -> None:
        from gan_cli.image_files import archives

        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise ValueError("a pipe or the like, which would be waited for")
            with zipfile.ZipFile(path) as archive:
                archives.add_arrays(self.listing, archive, parts, path)
        except archives.DAMAGED:
            self.listing.files.append(File(parts, path, "damaged npz"))
        except OSError as error:
            self.listing.files.append(File(parts, path, f"cannot be read: {error.strerror}"))

    def picture(self, file: File) -> bytes | np.ndarray:
        if not isinstance(file.place, ArrayPlace):
            return self.read(file)
        holder = file.place.holder
        try:
            if isinstance(holder, str):
                return arrays.pixels_of(arrays.mapped(holder), file.place)
            return arrays.pixels_of(self._held.get(holder, holder.size, holder.open), file.place)
        except OSError as error:
            raise _unreadable(error, str(holder), link=False) from error

    def read(self, file: File) -> bytes:
        if hasattr(file.place, "open"):  # a member of an npz
            with file.place.open() as member:
                return member.read()
        path = str(file.place)
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                raise BadPicture("not a regular file")
            if status.st_size > formats.MOST_FILE_BYTES:
                raise BadPicture(f"larger than {formats.MOST_FILE_BYTES >> 20} MiB")
            # Should it have become a pipe meanwhile, opening it must not wait for a writer.
            with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as opened:
                return opened.read(formats.MOST_FILE_BYTES)
        except OSError as error:
            raise _unreadable(error, path, os.path.islink(path)) from None


def _size(item: os.DirEntry[str]) -> int:
    try:
        return item.stat().st_size
    except OSError:
        return 0


def _beginning(path: str) -> Begins:
    """Gives the first bytes of a file; nothing of what is no regular file."""

    def begins(count: int) -> bytes:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise BadPicture("not a regular file")
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as opened:
            return opened.read(count)

    return begins


def _unreadable(error: OSError, path: str, link: bool) -> BadPicture | StorageError:
    """The fault of one picture, or of the disk."""
    if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
        return BadPicture("a link that leads nowhere" if link else "gone")
    if error.errno in (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG):
        return BadPicture(f"cannot be read: {error.strerror}")
    return StorageError(f"{one_line(path)}: cannot be read ({error.strerror})")
