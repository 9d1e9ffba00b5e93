"""Starts the processes of a run with `device.processes` above 1, and reports how they ended. Imports no torch.

The processes connect over the loopback interface of this machine only. They meet in a file, so no port has to be free.
If one ends by an error, or no longer answers the others, the rest is ended too. If this process is killed, they find
that out themselves (`stop_with_parent`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from gan_cli.distributed.process_environment import STARTER, STORE
from gan_cli.errors import LostProcessError
from gan_cli.isolated_process import child_command
from gan_cli.stop_signals import STOP_CODES
from gan_cli.sweeps.jobs import JobProcesses

PROCESS_MODULE = "gan_cli.cli.training_process"  # started by name, because an import would be circular
LOST = LostProcessError.exit_code
POLL_SECONDS = 0.05
# Seconds that the other processes have to end by themselves after the first one has ended:
AFTER_LOSS, AFTER_END = 2.0, 20.0


def train_in_processes(arguments: Sequence[str], folder: Path | None, count: int, timeout: float) -> int:
    """Runs `gan-train` with these arguments in `count` processes. Returns the exit code of the run."""
    with (
        tempfile.TemporaryDirectory(prefix="gan-cli-") as meeting,
        JobProcesses() as processes,
        contextlib.ExitStack() as held,
    ):
        shared = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
        shared |= {STORE: str(Path(meeting) / "store"), STARTER: str(os.getpid())}
        children, texts = [], []
        try:
            for rank in range(count):
                texts.append(held.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")))
                child = subprocess.Popen(
                    child_command(PROCESS_MODULE, str(folder or ""), *arguments),
                    env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                    stdin=subprocess.DEVNULL,
                    stdout=None if rank == 0 else subprocess.DEVNULL,
                    stderr=subprocess.PIPE if rank == 0 else texts[rank],
                    text=True,
                    errors="replace",
                )
                children.append(child)
                held.enter_context(processes.tracking(child))
            printer = threading.Thread(target=_copy_errors, args=(children[0].stderr, texts[0]), daemon=True)
            printer.start()
            codes, stuck = _wait(children, timeout)
            printer.join(timeout=5)
        finally:
            _kill(children)
        return _report(codes, texts, stuck, timeout)


def _copy_errors(source: IO[str] | None, copy: IO[str]) -> None:
    """Prints what process 0 writes to its standard error, and keeps a copy."""
    if source is None:
        return
    with source, contextlib.suppress(OSError, ValueError):
        for line in source:
            sys.stderr.write(line)
            sys.stderr.flush()
            copy.write(line)


def _wait(children: Sequence[subprocess.Popen[str]], timeout: float) -> tuple[list[int], set[int]]:
    """Waits until all processes have ended, and kills those that do not end.

    They are those that are stopped (SIGSTOP) for longer than `timeout` seconds, or after another one has ended, and
    those that go on long after that. Returns the exit codes, which are LOST for processes killed here, and the numbers
    of those that did not answer.
    """
    until: float | None = None
    stuck: set[int] = set()
    killed: set[int] = set()
    stopped = dict.fromkeys(range(len(children)), 0.0)  # seconds in which this process ran too: Ctrl-Z stops all
    while None in (codes := [child.poll() for child in children]):
        ended = [code for code in codes if code is not None]
        if ended and until is None:
            lost = any(code < 0 or code == LOST for code in ended)
            until = time.monotonic() + (AFTER_LOSS if lost else AFTER_END)
        running = {rank for rank, code in enumerate(codes) if code is None}
        for rank in running:
            stopped[rank] = stopped[rank] + POLL_SECONDS if _is_stopped(children[rank]) else 0.0
        late = {rank for rank in running if stopped[rank] > (POLL_SECONDS if ended else timeout)}
        if until is not None and time.monotonic() > until:
            late = running
        if late:
            stuck = stuck or late
            killed |= late
            _kill([children[rank] for rank in late])
        time.sleep(POLL_SECONDS)
    return [LOST if rank in killed else _stop_code(child.returncode) for rank, child in enumerate(children)], stuck


def _is_stopped(child: subprocess.Popen[str]) -> bool:
    """Returns whether a process is stopped (SIGSTOP), as far as the system says so: macOS does from Python 3.13 on."""
    with contextlib.suppress(ChildProcessError, AttributeError):  # the first: it has just ended
        return os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
    return False


def _stop_code(code: int) -> int:
    """Returns the exit code of a process, the same if a signal to stop ended it, as at its start, or if it stopped."""
    return STOP_CODES[signal.Signals(-code)] if -code in {*STOP_CODES} else code


def _kill(children: Sequence[subprocess.Popen[str]]) -> None:
    for child in children:
        if child.poll() is None:
            child.kill()
        child.wait()


def _report(codes: Sequence[int], texts: Sequence[IO[str]], stuck: set[int], timeout: float) -> int:
    """Prints why the run ended, unless process 0 has, and returns its exit code."""
    failed = [code for code in codes if code > 0 and code != LOST]
    killed = [(rank, -code) for rank, code in enumerate(codes) if code < 0]
    if any(codes):
        _print_once(texts)
    if failed:
        return failed[0]
    if killed:
        rank, number = killed[0]
        name = signal.Signals(number).name if number in {*signal.Signals} else f"signal {number}"
        print(_lost_line(f"process {rank} of {len(codes)} was ended by {name}"), file=sys.stderr)
        return 128 + number
    if any(codes):
        numbers = ", ".join(map(str, sorted(stuck))) or "one"
        late = f"process {numbers} of {len(codes)} did not answer within device.timeout={timeout:g} seconds"
        print(_lost_line(late), file=sys.stderr)
        return LOST
    return 0


def _lost_line(what: str) -> str:
    return f"gan-train: {what}, which ended the run; resume= continues from its last checkpoint, if it had saved one"


def _print_once(texts: Sequence[IO[str]]) -> None:
    """Prints what the processes other than 0 wrote to their standard error, each line once."""
    printed: set[str] = set()
    for rank, text in enumerate(texts):
        text.seek(0)
        lines = [line for line in text.read().splitlines() if line not in printed]
        printed |= {*lines}
        if rank > 0 and lines:
            print("\n".join(lines), file=sys.stderr)
