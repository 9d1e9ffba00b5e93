"""Runs one job of a sweep in a process of its own and records its outcome.

Each job has its own process, because a crash, an exit or a kill must end that job alone. The job's side of it is
`sweep_job.py`.
"""

from __future__ import annotations

import contextlib
import json
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

from gan_cli.errors import StorageError
from gan_cli.isolated_process import child_command
from gan_cli.storage.locks import HANGUP, STOP_SIGNALS
from gan_cli.storage.run_folder import JOB_OUTCOME, lock, write_json
from gan_cli.storage.symlinks import SymlinkError
from gan_cli.sweeps.outcomes import Job, Settings, build_outcome, classify_exit, load_outcome, next_folder

JOB_MODULE = "gan_cli.cli.sweep_job"  # started by name: it imports the command line, which imports this
SAVE_TIMEOUT = 60.0  # seconds that a job may take to save after its sweep was killed
_printing = threading.Lock()


class JobProcesses:
    """The running jobs. While entered, it forwards signals to them: the first one unchanged, so that they save.

    A second signal kills them. `received` is the first signal, None if there was none.
    """

    FORWARDED = (*STOP_SIGNALS, *HANGUP)

    def __init__(self) -> None:
        self.received: int | None = None
        self._running: dict[int, subprocess.Popen[str]] = {}
        self._signalled: dict[int, object] = {}

    def __enter__(self) -> JobProcesses:
        self._before = {number: signal.signal(number, self.forward) for number in self.FORWARDED}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def tracking(self, process: subprocess.Popen[str]) -> Iterator[None]:
        """Forwards signals to this process while the context is active."""
        self._running[process.pid] = process
        try:
            if self.received is not None:  # while it was being started
                self._stop(process)
            yield
        finally:
            self._running.pop(process.pid, None)

    def forward(self, number: int, frame: FrameType | None = None) -> None:
        """Signals every running job: to save and stop the first time, killed the second time."""
        again, self.received = self.received is not None, self.received or number
        for process in list(self._running.values()):
            if again:
                process.kill()
            else:
                self._stop(process)

    def _stop(self, process: subprocess.Popen[str]) -> None:
        """Sends the signal once: a second one would end the job without saving. HUP becomes TERM for a job."""
        once = object()
        if self._signalled.setdefault(process.pid, once) is once:
            assert self.received is not None
            process.send_signal(signal.SIGTERM if self.received in HANGUP else self.received)


# --- running -----------------------------------------------------------------------------------------------------


def run_job(job: Job, settings: Settings, processes: JobProcesses) -> dict[str, Any]:
    """Starts, resumes or retries the job, depending on its last status; returns and writes its new outcome."""
    before = load_outcome(job, settings)
    folder, resumed = next_folder(job, settings, before)
    if resumed:
        _wait_until_free(folder)
    how = " (resumed)" if resumed else "" if folder.name == str(job.number) else f" (again, in {folder.name})"
    print_line(f"job {job.number}: {job.varied}{how}")
    started = time.monotonic()
    arguments = _arguments_to_resume(job, folder) if resumed else _arguments_to_start(job, settings)
    request = {"arguments": arguments, "folder": None if resumed else str(folder)}
    code, errors = _run_process(request, processes, f"job {job.number}: " if settings.parallel else None)
    earlier = before["seconds"] if resumed else 0.0
    status, reason = classify_exit(code, errors, folder, stopping=processes.received is not None)
    outcome = build_outcome(job, settings, folder, status, reason) | {
        "seconds": round(earlier + time.monotonic() - started, 1),
        "code": 1 if code == 0 and status != "done" else code if code >= 0 else 128 - code,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / JOB_OUTCOME, outcome)
    except OSError as error:  # a full disk ends no sweep: the run's own record has how it ended
        print_line(f"warning: {folder / JOB_OUTCOME}: cannot be written ({error.strerror}); going on")
    return outcome


def _arguments_to_start(job: Job, settings: Settings) -> list[str]:
    arguments = [*settings.flags, *job.overrides]
    if settings.threads is not None and not any(override.startswith("threads=") for override in job.overrides):
        arguments.append(f"threads={settings.threads}")
    return arguments


def _arguments_to_resume(job: Job, folder: Path) -> list[str]:
    """Everything else is in the run's checkpoint; plugins must be known before that is read."""
    return [f"resume={folder.absolute()}", *(each for each in job.overrides if each.startswith("plugins="))]


def _wait_until_free(folder: Path) -> None:
    """Waits until the process that still holds this run, whose sweep was killed, has saved; at most SAVE_TIMEOUT."""
    until = time.monotonic() + SAVE_TIMEOUT
    while time.monotonic() < until:
        try:
            lock(folder).close()
            return
        except SymlinkError:  # the job itself reports it
            return
        except StorageError:
            time.sleep(0.1)


def _run_process(request: dict[str, Any], processes: JobProcesses, prefix: str | None) -> tuple[int, str]:
    """Runs a job's process to its end; returns its exit code and what it wrote to standard error.

    With a prefix, that stands before each line that the job prints. The process is in a session of its own, so that a
    Ctrl-C reaches it through us and once. We keep its standard input open: when that ends, because we ended, the job
    stops as well.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(
            child_command(JOB_MODULE),
            stdin=subprocess.PIPE,
            stdout=None if prefix is None else subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        with processes.tracking(process):
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # it ended before it read: its exit code says why
                process.stdin.write(json.dumps(request) + "\n")
                process.stdin.flush()
            printer = threading.Thread(target=_print_lines, args=(process.stdout, prefix), daemon=True)
            if prefix is not None:
                printer.start()
            code = process.wait()
        if prefix is not None:
            printer.join(timeout=5)  # longer only if a process that it left behind holds the other end
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        errors.seek(0)
        text = errors.read()
    sys.stderr.write(text)
    return code, text


def _print_lines(stream: IO[str] | None, prefix: str) -> None:
    """Prints each line of a job's output, behind the prefix."""
    with contextlib.suppress(OSError, ValueError), stream or contextlib.nullcontext():
        for line in stream or ():
            print_line(prefix + line.rstrip("\n"))


def print_line(line: str) -> None:
    """Prints a whole line, also when several threads print at the same time."""
    with _printing:
        print(line, flush=True)
