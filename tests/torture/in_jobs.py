"""Breaks the jobs of a sweep: a module `sitecustomize` acts in each process that the sweep starts.

The processes are numbered in the order of their starts. This module imports nothing that a job would not import later.
"""

from __future__ import annotations

import atexit
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from torture.shim import Event, Shim, kill_after_cpu, log_line

TESTS = Path(__file__).resolve().parents[1]
MODULE = """\
import sys
sys.path.insert(0, {tests!r})
from torture import in_jobs
sys.path.pop(0)
in_jobs.{call}
"""


def install(folder: Path, call: str) -> None:
    """Makes the processes that this one starts call a function of this module, such as `record(...)`, at their start.

    `folder` is that of the trial, outside of its current folder.
    """
    site = folder / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(MODULE.format(tests=str(TESTS), call=call))
    os.environ.update(PYTHONPATH=str(site), PRELOADED_PATH="1")


def _number(folder: Path) -> int:
    """Returns the number of this process among those of the sweep, from 0."""
    for number in range(1000):
        try:
            os.close(os.open(folder / f"job-{number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        except FileExistsError:
            continue
        return number
    raise RuntimeError("a sweep started more than 1000 processes")


def record(folder: str) -> None:
    """Writes the calls that change files, and the CPU seconds, of each job to `events-<number>` and `cpu-<number>`."""
    here = Path(folder)
    number = _number(here)

    def act(count: int, event: Event, write: Callable[[bytes], int] | None) -> None:
        log_line(here / f"events-{number}", f"{event.name} {event.path}")

    Shim(here / "here", act).install()
    atexit.register(lambda: log_line(here / f"cpu-{number}", str(time.process_time())))


def watch(folder: str) -> None:
    """Writes what no file may make a job do to the file `sightings`."""
    from torture import canary

    canary.watch(Path(folder), Path(folder) / "sightings")


def interrupt(folder: str, job: int, sent: int, call: int | None = None, cpu: float | None = None) -> None:
    """Sends a signal to the job of a number before its n-th call that changes a file, or after CPU seconds."""
    here = Path(folder)
    if _number(here) != job:
        return
    if cpu is not None and sent == signal.SIGKILL:
        kill_after_cpu(cpu)
    elif cpu is not None:
        signal.signal(signal.SIGPROF, lambda *_: os.kill(os.getpid(), sent))
        signal.setitimer(signal.ITIMER_PROF, cpu)

    def act(count: int, event: Event, write: Callable[[bytes], int] | None) -> None:
        if count == call:
            log_line(here / "point", f"{event.name} {event.path}")
            os.kill(os.getpid(), sent)

    Shim(here / "here", act).install()
