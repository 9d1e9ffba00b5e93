"""Passes a sweep's signals on to jobs in processes of a launcher, which may be on other machines.

The sweep writes the number of the signal to a file in its folder, and the processes of the jobs read that file.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from gan_cli.storage.run_folder import STOP_FILE
from gan_cli.sweeps.jobs import JobProcesses

POLL_SECONDS = 0.2  # between two checks for a signal, or for an outcome, of another process


def write_stop_request(sweep: Path, processes: JobProcesses) -> None:
    """Writes the signal that the sweep received, if any: SIGKILL for a second one, after which no job saves."""
    number = signal.SIGKILL if processes.killing else processes.received
    if number is not None and read_stop_request(sweep) != number:
        (sweep / STOP_FILE).write_text(str(int(number)))


def read_stop_request(sweep: Path) -> int:
    """Returns the number of the signal that the sweep in this folder received, or 0 if there was none."""
    with contextlib.suppress(OSError, ValueError):  # there is no file, or it is not completely written
        return int((sweep / STOP_FILE).read_text())
    return 0


@contextlib.contextmanager
def stopping_with_sweep(sweep: Path, processes: JobProcesses, is_dead: Callable[[], bool]) -> Iterator[None]:
    """While entered, forwards a signal of the sweep to the processes. If `is_dead`, the sweep ended: they stop too."""

    def check() -> None:
        number = read_stop_request(sweep) or (signal.SIGTERM if is_dead() else 0)
        if number == signal.SIGKILL:
            processes.kill()
        elif number and processes.received is None:
            processes.forward(number)

    with repeating(check):
        yield


@contextlib.contextmanager
def repeating(step: Callable[[], None]) -> Iterator[None]:
    """Calls `step` in a thread, every POLL_SECONDS, while the context is active.

    An OSError, such as one of a full disk or a network folder, does not end that: the next call may succeed.
    """
    finished = threading.Event()

    def repeat() -> None:
        while not finished.wait(POLL_SECONDS):
            with contextlib.suppress(OSError):
                step()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
