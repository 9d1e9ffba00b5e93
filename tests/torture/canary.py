"""Watches a command for what no file may make it do: run code, start programs, open sockets, write elsewhere."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torture.shim import log_line

FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "pty.spawn", "socket.connect", "socket.bind", "os.fork")
PROGRAMS = ("git", "uname", "file", "lscpu")  # that gan-cli or Python's platform module may start
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
FREE = ("/dev/", "/proc/")


def watch(folder: Path, log: Path, programs: Sequence[str] = PROGRAMS) -> None:
    """Writes a line to `log` for each forbidden action of this process.

    Files may be written below `folder` only, and only the `programs` may be started.
    """
    tempfile.tempdir = None  # else it is what it was in the process from which this one was forked
    inside = f"{folder.resolve()}/"

    def check(event: str, arguments: tuple[Any, ...]) -> None:
        text = None
        if event in FORBIDDEN:
            text = f"{event} {arguments!r}"
        elif event == "subprocess.Popen" and os.path.basename(os.fsdecode(arguments[0])) not in programs:
            text = f"{event} {arguments[:2]!r}"
        elif event == "exec" and getattr(arguments[0], "co_filename", "").startswith(inside):
            text = f"runs {arguments[0].co_filename}"
        elif event == "open" and isinstance(arguments[0], str | bytes) and isinstance(arguments[2], int):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if arguments[2] & WRITING and not path.startswith((inside, *FREE)):
                text = f"writes {path}"
        if text is not None:
            log_line(log, text[:300])

    sys.addaudithook(check)


def sightings(log: Path) -> list[str]:
    """Returns the lines that were written."""
    return log.read_text(errors="replace").splitlines() if log.exists() else []
