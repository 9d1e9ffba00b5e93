"""Opens the files of a run's folder, which may come from someone else, and refuses links in it.

Only regular files are opened, because opening a FIFO or a device can block for ever. Links are not followed, and a file
with a second name (a hard link) is not written to, because the other name may be a file at another place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from gan_cli.errors import StorageError

# These flags are 0 on systems that lack them. Without NO_BLOCK, opening a FIFO waits for its other end.
NO_FOLLOW, NO_BLOCK = getattr(os, "O_NOFOLLOW", 0), getattr(os, "O_NONBLOCK", 0)
LONGEST_LINE = 1 << 20  # bytes


class UnsafeFileError(StorageError):
    """A file or folder of a run is a link, or no regular file, so that nothing is written to it."""


def refuse_symlink(path: Path) -> Path:
    """Returns the path unchanged. Raises UnsafeFileError if the path is a symbolic link, whatever its target."""
    if path.is_symlink():
        raise UnsafeFileError(f"{path}: is a link, which nothing is written through; replace it by what it points to")
    return path


def read_bytes(path: Path, most_bytes: int, *, follow: bool = False) -> bytes:
    """Returns the content of a file. With `follow`, the path may be a link to a file.

    Raises OSError if it cannot be read to its end, is no regular file, or has more than `most_bytes` bytes.
    """
    with naming(path), open_to_read(path, follow=follow) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most_bytes:
            raise OSError(errno.EFBIG, f"larger than {most_bytes >> 20} MiB", str(path))
        content = file.read()
    if len(content) < size:
        raise OSError(errno.EIO, "was cut off while it was read", str(path))
    return content


def read_lines(path: Path, most_bytes: int | None = None) -> Iterator[bytes]:
    """Yields the lines of a file, without those longer than LONGEST_LINE. Raises OSError as `open_to_read` does.

    If the file has more than `most_bytes` bytes, yields only the lines in its last `most_bytes`.
    """
    with naming(path), open_to_read(path) as file:
        skipped = 0 if most_bytes is None else os.fstat(file.fileno()).st_size - most_bytes
        begins = skipped <= 0  # whether the next bytes are the beginning of a line
        if not begins:
            file.seek(skipped - 1)
        while line := file.readline(LONGEST_LINE):
            ends = line.endswith(b"\n")
            if begins and (ends or len(line) < LONGEST_LINE):
                yield line
            begins = ends


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Gives an OSError without a file name, as a failed read has none, the name of this file."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def open_to_read(path: Path, *, follow: bool = False) -> IO[bytes]:
    """Opens a file for reading. With `follow`, the path may be a link. Raises OSError if it is no regular file."""
    _require_regular(os.stat(path, follow_symlinks=follow), path)
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | (0 if follow else NO_FOLLOW)
    return open(_open(path, flags, _require_regular), "rb")


def open_to_append(path: Path) -> IO[str]:
    """Opens a text file of a run for reading and appending, and creates it if it is missing.

    Raises UnsafeFileError as `refuse_unsafe` does, and OSError.
    """
    refuse_unsafe(path)
    try:
        descriptor = _open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | NO_FOLLOW, _refuse_unsafe)
    except OSError:
        refuse_unsafe(path)  # raises if the path became a link after the first check
        raise
    return open(descriptor, "a+", encoding="utf-8", errors="backslashreplace")


def refuse_unsafe(path: Path) -> None:
    """Raises UnsafeFileError if the path is a link, a file with a second name, or neither a file nor a folder."""
    refuse_symlink(path)
    with contextlib.suppress(FileNotFoundError):
        _refuse_unsafe(os.lstat(path), path)


def _open(path: Path, flags: int, check: Callable[[os.stat_result, Path], None]) -> int:
    """Opens a file and returns its descriptor. The check is repeated, because another file may now be at this path."""
    descriptor = os.open(path, flags | NO_BLOCK, 0o666)
    try:
        check(os.fstat(descriptor), path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _require_regular(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "is no regular file", str(path))


def _refuse_unsafe(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise UnsafeFileError(f"{path}: is no regular file; remove it")
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
        raise UnsafeFileError(f"{path}: is a hard link, so another file would change too; replace it by a copy of it")
