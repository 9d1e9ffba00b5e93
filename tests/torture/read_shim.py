"""Replaces the functions that read files, in the process of a command: reads fail, or files end early.

Only files below the watched folder count. Reads by code in C and Rust are not seen, such as those of memory maps.
"""

from __future__ import annotations

import builtins
import functools
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from torture.shim import file_object, relative_to

LISTING = ("listdir", "scandir")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Read(NamedTuple):
    """An opened, read or listed path, relative to the watched folder: `name` is open, read, listdir or scandir."""

    name: str
    path: str


Action = Callable[[int, Read], bool]  # may raise OSError; True: the file ends here


class ReadShim:
    """Calls `act(n, read)` before the n-th read, counted from 1."""

    def __init__(self, folder: Path, act: Action) -> None:
        self.folder, self.act, self.count = folder.resolve(), act, 0
        self.open, self.os_open, self.os_read = io.open, os.open, os.read

    def install(self) -> None:
        """Replaces the functions in this process, for good."""
        builtins.open = io.open = self._open  # type: ignore[assignment]
        for name in LISTING:
            real = getattr(os, name)
            setattr(os, name, functools.partial(self._list, name, real))
        os.open, os.read = self._os_open, self._os_read  # type: ignore[assignment]
        os.supports_fd.update(getattr(os, name) for name in LISTING)
        os.supports_dir_fd.add(os.open)
        shutil._use_fd_functions = False  # type: ignore[attr-defined]

    def happen(self, name: str, path: Any) -> bool:
        """Counts a read of a path or descriptor and acts on it. Returns whether the file ends here."""
        relative = relative_to(self.folder, path)
        if relative is None:
            return False
        self.count += 1
        return self.act(self.count, Read(name, relative))

    def _list(self, name: str, real: Callable[..., Any], path: Any = ".") -> Any:
        self.happen(name, path)
        return real(path)

    def _os_open(self, path: Any, flags: int, *arguments: Any, **settings: Any) -> int:
        if not flags & WRITING and not settings.get("dir_fd"):
            self.happen("open", path)
        return self.os_open(path, flags, *arguments, **settings)

    def _os_read(self, descriptor: int, size: int) -> bytes:
        return b"" if self.happen("read", descriptor) else self.os_read(descriptor, size)

    def _open(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: Any = None,
        errors: Any = None,
        newline: Any = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        if set(mode) & set("wax+") or relative_to(self.folder, file) is None or opener is not None:
            return self.open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if not isinstance(file, int):  # else os.open was seen
            self.happen("open", file)
        return file_object(_RawFile(self, file, closefd), mode, buffering, encoding, errors, newline)


class _RawFile(io.FileIO):
    """A file whose reads are seen."""

    def __init__(self, shim: ReadShim, file: Any, closefd: bool) -> None:
        super().__init__(file, "r", closefd)
        self.shim = shim

    def readinto(self, buffer: Any) -> int:
        return 0 if self.shim.happen("read", self.fileno()) else super().readinto(buffer)

    def read(self, size: int = -1) -> bytes:
        return b"" if self.shim.happen("read", self.fileno()) else super().read(size)

    def readall(self) -> bytes:
        if self.shim.happen("read", self.fileno()):
            return b""
        return super().readall()


# --- what may happen at a read ---------------------------------------------------------------------------------------


def noting(reads: list[Read]) -> Action:
    """Appends each read to a list."""

    def act(count: int, read: Read) -> bool:
        reads.append(read)
        return False

    return act


def unreadable(n: int, path: str, number: int, forever: bool) -> Action:
    """Fails the n-th read with an errno; if `forever`, also all later reads of the same path."""

    def act(count: int, read: Read) -> bool:
        if count == n or (forever and count > n and read.path == path):
            raise OSError(number, os.strerror(number), read.path if read.name != "read" else None)
        return False

    return act


def ending(n: int, path: str) -> Action:
    """Lets a file end at the n-th read, as if another process had truncated it."""
    return lambda count, read: count >= n and read.path == path and read.name == "read"
