"""One job of a sweep: a run in a process of its own, and what became of it.

A process per job, because a crash, an exit or a kill in one must end that one alone. This module, run as one, is the
job's side: it reads one JSON request from its standard input.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO, Any

from gan_cli.config.own_folder import quietly
from gan_cli.errors import StorageError
from gan_cli.isolated_process import child_command
from gan_cli.storage.links import LinkError
from gan_cli.storage.locks import signals
from gan_cli.storage.run_folder import OUTCOME, lock, write_json
from gan_cli.sweeps.outcomes import Job, Settings, describe, explain, next_folder, outcome_of

_saying = threading.Lock()
PATIENCE = 60.0  # seconds that a job of a sweep that was killed may take to save


class Children:
    """The running jobs. While entered, signals go to them: the first as it is, so that they save; a second kills."""

    HEEDED = signals("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")

    def __init__(self) -> None:
        self.received: int | None = None
        self._running: dict[int, subprocess.Popen[str]] = {}
        self._told: dict[int, object] = {}

    def __enter__(self) -> Children:
        self._before = {number: signal.signal(number, self.forward) for number in self.HEEDED}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def holding(self, child: subprocess.Popen[str]) -> Iterator[None]:
        self._running[child.pid] = child
        try:
            if self.received is not None:  # while it was being started
                self._stop(child)
            yield
        finally:
            self._running.pop(child.pid, None)

    def forward(self, number: int, frame: FrameType | None = None) -> None:
        again, self.received = self.received is not None, self.received or number
        for child in list(self._running.values()):
            if again:
                child.kill()
            else:
                self._stop(child)

    def _stop(self, child: subprocess.Popen[str]) -> None:
        """Once, since a second signal would end it without saving. A job heeds no HUP: it has no terminal."""
        once = object()
        if self._told.setdefault(child.pid, once) is once:
            assert self.received is not None
            child.send_signal(signal.SIGTERM if self.received in signals("SIGHUP") else self.received)


# --- running -----------------------------------------------------------------------------------------------------


def run_job(job: Job, settings: Settings, children: Children) -> dict[str, Any]:
    """Starts the job, goes on with it, or tries it again, by what became of it before; what became of it now."""
    before = outcome_of(job, settings)
    folder, resumed = next_folder(job, settings, before)
    arguments = [*settings.flags, *job.overrides]
    if resumed:
        _wait_until_free(folder)
        plugins = [override for override in job.overrides if override.startswith("plugins=")]
        arguments = [f"resume={folder.absolute()}", *plugins]
    elif settings.threads is not None and not any(override.startswith("threads=") for override in job.overrides):
        arguments.append(f"threads={settings.threads}")
    how = " (goes on)" if resumed else "" if folder.name == str(job.number) else f" (again, in {folder.name})"
    say(f"job {job.number}: {job.varied}{how}")
    started = time.monotonic()
    request = {"arguments": arguments, "folder": None if resumed else str(folder)}
    code, complaint = _run_child(request, children, f"job {job.number}: " if settings.parallel else None)
    earlier = before["seconds"] if resumed else 0.0
    status, reason = explain(code, complaint, folder, asked=children.received is not None)
    outcome = describe(job, settings, folder, status, reason) | {
        "seconds": round(earlier + time.monotonic() - started, 1),
        "code": 1 if code == 0 and status != "done" else code if code >= 0 else 128 - code,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / OUTCOME, outcome)
    except OSError as error:  # a disk that is full ends no sweep: the run's own record tells how it ended
        say(f"warning: {folder / OUTCOME}: cannot be written ({error.strerror}); going on")
    return outcome


def _wait_until_free(folder: Path) -> None:
    """Until the process that had this run, whose sweep was killed, has saved."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            lock(folder).close()
            return
        except LinkError:  # which the job will say
            return
        except StorageError:
            time.sleep(0.1)


def _run_child(request: dict[str, Any], children: Children, prefix: str | None) -> tuple[int, str]:
    """Exit code, and what was complained of. With a prefix, that stands before each line that it prints.

    The child is in a session of its own, so that a Ctrl-C reaches it through us and once. Its standard input stays
    open as long as we live: when it ends, the child stops too, whatever became of us.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        child = subprocess.Popen(
            child_command("gan_cli.sweeps.jobs"),
            stdin=subprocess.PIPE,
            stdout=None if prefix is None else subprocess.PIPE,
            stderr=complaints,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        with children.holding(child):
            assert child.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # it ended before it read: its exit code tells
                child.stdin.write(json.dumps(request) + "\n")
                child.stdin.flush()
            teller = threading.Thread(target=_tell, args=(child.stdout, prefix), daemon=True)
            if prefix is not None:
                teller.start()
            code = child.wait()
        if prefix is not None:
            teller.join(timeout=5)  # longer only if a process that it left behind holds the other end
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        complaints.seek(0)
        text = complaints.read()
    sys.stderr.write(text)
    return code, text


def _tell(stream: IO[str] | None, prefix: str) -> None:
    with contextlib.suppress(OSError, ValueError), stream or contextlib.nullcontext():
        for line in stream or ():
            say(prefix + line.rstrip("\n"))


def say(line: str) -> None:
    """A line to the console, whole, whoever else speaks."""
    with _saying:
        print(line, flush=True)


# --- the job's side ----------------------------------------------------------------------------------------------


def main() -> int:
    from gan_cli.cli.main import run_command

    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    folder = request["folder"]
    with quietly():
        return run_command("train", request["arguments"], folder=None if folder is None else Path(folder))


def _stop_with_parent() -> None:
    """Ends the job as a TERM would, once nobody holds the other end of its standard input."""
    os.read(sys.stdin.fileno(), 1)  # not sys.stdin.read, whose lock would be held when the interpreter ends
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
