"""What not every system has: file locks and some signals. Windows lacks them, where training is refused in a line."""

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


def require_locks() -> None:
    """UsageError on a system without file locks, on which two runs could write to one folder."""
    if fcntl is None:
        raise UsageError(
            "training needs file locks, which this system lacks: on Windows use WSL (Linux inside it); gan-sample,"
            " gan-export, gan-eval, gan-report and gan-compare work here"
        )


def hold(file: int | IO, *, wait: bool = False) -> None:
    """Locks the file for this process until it is closed; OSError if another has it, or there are no locks."""
    if fcntl is None:
        raise OSError("no file locks on this system")
    fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def signals(*names: str) -> tuple[signal.Signals, ...]:
    """Those of these signals that there are here."""
    return tuple(signal.Signals[name] for name in names if name in signal.Signals.__members__)
