"""Runs one job of a sweep in its own process: reads a JSON request from standard input and runs `gan-train`.

`jobs.py` starts this module and writes the request: `{"arguments": [...], "folder": "..." or null}`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path

from gan_cli.cli.main import run_command
from gan_cli.stop_signals import STOP_CODES


def main() -> int:
    """Runs the requested command and returns its exit code."""
    from gan_cli.config.search_path import without_notices

    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # by which Slurm warns all processes of a job; the sweep's stops this
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_CODES)  # Ray's processes block SIGINT, and this one inherits that
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    folder = request["folder"]
    with without_notices():
        return run_command("train", request["arguments"], folder=None if folder is None else Path(folder))


def _stop_with_parent() -> None:
    """Waits until the sweep's process closes our standard input or ends, then sends SIGTERM to this process."""
    os.read(sys.stdin.fileno(), 1)  # not sys.stdin.read, whose lock would be held when the interpreter ends
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
