"""File locks and signals, which some systems lack. Without file locks (Windows) training is refused."""

from __future__ import annotations

import signal
from types import ModuleType
from typing import IO

from gan_cli.errors import UsageError

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
    """Locks the file for this process until it is closed.

    Raises OSError if another process holds the lock and `wait` is False, or if the system has no file locks.
    """
    if fcntl is None:
        raise OSError("no file locks on this system")
    fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def available_signals(*names: str) -> tuple[signal.Signals, ...]:
    """The signals of these names that this system has."""
    return tuple(signal.Signals[name] for name in names if name in signal.Signals.__members__)


# The signals on which a run saves a checkpoint and ends, each with its exit code then.
STOP_CODES = dict(zip(available_signals("SIGINT", "SIGTERM", "SIGUSR1"), (130, 143, 138), strict=False))
STOP_SIGNALS = tuple(STOP_CODES)
HANGUP = available_signals("SIGHUP")  # the terminal was closed: a sweep stops its jobs, a run alone ends at once
