"""File locks, which not all systems have. On systems without them (Windows), training is refused."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import IO

from gan_cli.errors import UsageError

TRIES = 100  # to lock a file that its holders remove as they end
POLL_SECONDS = 0.05  # between the tries of a thread that may be stopped

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:
    fcntl = None


def require_file_locks() -> None:
    """Raises UsageError on a system without file locks, where two runs could write to the same folder."""
    if fcntl is None:
        raise UsageError(
            "training needs file locks, which this system lacks: on Windows use WSL (Linux inside it); gan-sample,"
            " gan-export, gan-eval, gan-report and gan-compare work here"
        )


def lock_file(file: int | IO, *, wait: bool = False) -> None:
    """Locks the file for this process until the file is closed. With `wait`, waits until no other process has the lock.

    Raises OSError if another process holds the lock and `wait` is False, or if the system has no file locks.
    """
    if fcntl is None:
        raise OSError("no file locks on this system")
    fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def lock_folder(folder: Path, *, wait: bool = False) -> int:
    """Locks a folder for this process until the returned descriptor is closed. `wait` is that of `lock_file`.

    Raises BlockingIOError if another process holds the lock. On file systems that lock no folders, such as NFS, it is
    not locked.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        lock_file(descriptor, wait=wait)
    except OSError as error:
        if isinstance(error, BlockingIOError) and not wait:
            os.close(descriptor)
            raise
    return descriptor


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Waits for the folder's lock and holds it, so that no other process looks up or creates a run or sweep in it."""
    descriptor = lock_folder(folder, wait=True)
    try:
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def one_at_a_time(
    path: Path, waiting: Callable[[], None] = lambda: None, stopped: threading.Event | None = None
) -> Iterator[None]:
    """Waits until no other process, or thread, makes the file `path`, and holds its lock: a hidden file beside it.

    `waiting` is called if there is one. Nothing is locked on a system without file locks, if the folder of `path`
    cannot be written to, or if `stopped` is set while it waits. A folder that was created for the lock alone is
    removed.
    """
    descriptor, lock = None, path.with_name(f".{path.name}.lock")
    created = [parent for parent in lock.parents if not parent.exists()]
    with contextlib.suppress(OSError):
        descriptor = _locked_file(lock, waiting, stopped)
    try:
        yield
    finally:
        if descriptor is not None:
            with contextlib.suppress(OSError):
                lock.unlink()
            os.close(descriptor)
        for folder in created:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _locked_file(lock: Path, waiting: Callable[[], None], stopped: threading.Event | None) -> int:
    """Creates and locks a file, and returns its descriptor. Raises OSError if that is not possible."""
    for _ in range(TRIES):
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:  # another process has just removed the folder
            continue
        try:
            try:
                lock_file(descriptor)
            except BlockingIOError:
                waiting()
                _wait_for_lock(descriptor, stopped)
            with contextlib.suppress(FileNotFoundError):  # its holder removed it meanwhile
                if os.path.samestat(os.stat(lock), os.fstat(descriptor)):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise OSError(f"{lock}: is replaced all the time")


def _wait_for_lock(descriptor: int, stopped: threading.Event | None) -> None:
    """Waits for the lock. Raises BlockingIOError if `stopped` is set before it is free."""
    while stopped is not None:
        try:
            return lock_file(descriptor)
        except BlockingIOError:
            if stopped.wait(POLL_SECONDS):
                raise
    lock_file(descriptor, wait=True)
