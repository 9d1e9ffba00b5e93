"""Replaces the functions that change files, in the process of a command, to record, fail, or kill at the n-th call.

Writes through Python's file objects are seen as the system calls that they become. Only files below the watched folder
count. Files written by other programs, such as ffmpeg, are not seen.
"""

from __future__ import annotations

import builtins
import errno
import functools
import io
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# What can fail, by errno. A full disk still lets a file be removed.
WRITES = ("open", "write", "mkdir", "link", "fsync", "replace", "rename", "truncate")
FAILS = {
    errno.ENOSPC: ("open", "write", "mkdir", "link", "fsync", "replace", "rename"),
    errno.EDQUOT: ("open", "write", "mkdir", "link", "fsync", "replace", "rename"),
    errno.EIO: (*WRITES, "unlink", "rmdir"),
    errno.EROFS: ("open", "mkdir", "link", "replace", "rename", "truncate", "unlink", "rmdir"),
    errno.EACCES: ("open", "mkdir", "link", "replace", "rename", "unlink", "rmdir"),
}
TWO_PATHS = ("replace", "rename", "link")
CALLS = ("open", *TWO_PATHS, "unlink", "remove", "fsync", "fdatasync", "mkdir", "rmdir", "truncate", "ftruncate")
SAME = {"remove": "unlink", "fdatasync": "fsync", "ftruncate": "truncate"}


@dataclass(frozen=True)
class Event:
    """A call that changes files, with paths relative to the watched folder. `detail` holds written bytes or a size."""

    name: str
    path: str
    other: str = ""  # the new path of a rename or link
    detail: bytes | int | str | None = None


Action = Callable[[int, Event, Callable[[bytes], int] | None], None]


def relative_to(folder: Path, path: Any) -> str | None:
    """Returns a path, or the path of a descriptor, relative to a folder; None if it is elsewhere."""
    try:
        text = os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else os.path.abspath(os.fsdecode(path))
    except (OSError, TypeError):
        return None
    text = text.removesuffix(" (deleted)")
    return os.path.relpath(text, folder) if text.startswith(f"{folder}/") else None


def file_object(raw: io.FileIO, mode: str, buffering: int, encoding: Any, errors: Any, newline: Any) -> Any:
    """Returns what `open` returns for these arguments, above the file `raw`."""
    if buffering == 0:
        return raw
    kind: Any = io.BufferedRandom if "+" in mode else io.BufferedReader if "r" in mode else io.BufferedWriter
    if "b" in mode:
        return kind(raw)
    text = io.TextIOWrapper(kind(raw), encoding, errors, newline, line_buffering=buffering == 1)
    text.mode = mode  # type: ignore[misc]
    return text


@dataclass
class Shim:
    """Calls `act(n, event, write)` before the n-th event, counted from 1.

    `act` may raise OSError or kill the process. `write` writes a part of the bytes of a write event.
    """

    folder: Path
    act: Action
    count: int = 0
    open: Any = field(default=io.open)
    calls: dict[str, Any] = field(default_factory=lambda: {name: getattr(os, name) for name in CALLS})

    def install(self) -> None:
        """Replaces the functions in this process, for good."""
        builtins.open = io.open = self._open  # type: ignore[assignment]
        self.folder = self.folder.resolve()
        for name, real in self.calls.items():
            setattr(os, name, functools.wraps(real)(functools.partial(self._call, name, real)))
        for checked in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
            checked |= {getattr(os, name) for name, real in self.calls.items() if real in checked}  # type: ignore[misc]
        shutil._use_fd_functions = False  # type: ignore[attr-defined]  # paths are known then

    def happen(self, event: Event, write: Callable[[bytes], int] | None = None) -> None:
        """Counts an event and acts on it."""
        self.count += 1
        self.act(self.count, event, write)

    def _call(self, name: str, real: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
        path = relative_to(self.folder, arguments[0]) if arguments else None
        if name == "open" and not arguments[1] & (os.O_CREAT | os.O_TRUNC):  # only reads, or waits for the disk
            path = None
        if path is not None:
            other = relative_to(self.folder, arguments[1]) or "" if name in TWO_PATHS else ""
            detail = arguments[1] if name in ("truncate", "ftruncate") else None
            if name == "open":
                detail = "w" if arguments[1] & os.O_TRUNC else "a"
            self.happen(Event(SAME.get(name, name), path, other, detail))
        return real(*arguments, **settings)

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
        path = relative_to(self.folder, file) if set(mode) & set("wax+") else None
        if path is None:
            return self.open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if not isinstance(file, int):  # else os.open was seen
            self.happen(Event("open", path, detail=mode))
        raw = _RawFile(self, path, file, mode.replace("b", "").replace("t", ""), closefd, opener)
        return file_object(raw, mode, buffering, encoding, errors, newline)


class _RawFile(io.FileIO):
    """A file whose writes are events."""

    def __init__(self, shim: Shim, path: str, file: Any, mode: str, closefd: bool, opener: Any) -> None:
        super().__init__(file, mode, closefd, opener)
        self.shim, self.path = shim, path

    def write(self, content: Any) -> int:  # type: ignore[override]
        self.shim.happen(Event("write", self.path, detail=bytes(content)), super().write)
        return super().write(content)

    def truncate(self, size: int | None = None) -> int:  # type: ignore[override]
        self.shim.happen(Event("truncate", self.path, detail=self.tell() if size is None else size))
        return super().truncate(size)


# --- what may happen at an event -----------------------------------------------------------------------------------


def log_line(log: Path, text: str) -> None:
    """Appends a line to a file outside the watched folder, which survives a kill of this process."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(descriptor, f"{text}\n".encode())
    os.close(descriptor)


def killing(n: int, log: Path, torn: bool = False) -> Action:
    """Kills the process before the n-th event; if `torn`, a write is half done then."""

    def act(count: int, event: Event, write: Callable[[bytes], int] | None) -> None:
        if count == n:
            if torn and write is not None and isinstance(event.detail, bytes):
                write(event.detail[: len(event.detail) // 2])
            log_line(log, f"{n} {event.name} {event.path} {event.other}")
            os.kill(os.getpid(), signal.SIGKILL)

    return act


def failing(n: int, number: int, forever: bool, log: Path) -> Action:
    """Fails from the n-th event on, or at it alone, with an errno, where such a call can fail so."""

    def act(count: int, event: Event, write: Callable[[bytes], int] | None) -> None:
        if (count == n or (forever and count > n)) and event.name in FAILS[number]:
            log_line(log, f"{count} {event.name} {event.path} {event.other}")
            raise OSError(number, os.strerror(number), event.path)

    return act


def signalling(n: int, number: int) -> Action:
    """Sends a signal to the process before the n-th event."""

    def act(count: int, event: Event, write: Callable[[bytes], int] | None) -> None:
        if count == n:
            os.kill(os.getpid(), number)

    return act


def recording(events: list[Event]) -> Action:
    """Appends each event to a list."""
    return lambda count, event, write: events.append(event)


def kill_after_cpu(seconds: float) -> None:
    """Kills this process once it has used this much more CPU time. Unlike wall time, it is about the same when busy."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)
