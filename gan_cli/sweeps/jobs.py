"""Runs one job of a sweep in a separate process and records its outcome.

Each job has its own process, because a crash, an exit or a kill must end only that job. The code that runs inside this
process is `sweep_job.py`.
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

from gan_cli.config.options.untrusted_files import NAMED_AGAIN
from gan_cli.errors import StorageError, describe_reason
from gan_cli.isolated_process import child_command
from gan_cli.stop_signals import handling, is_same_request
from gan_cli.storage.run_files import UnsafeFileError
from gan_cli.storage.run_folder import JOB_OUTCOME, lock, write_json
from gan_cli.sweeps.outcomes import (
    FINAL,
    Job,
    Outcome,
    Sweep,
    build_outcome,
    classify_exit,
    load_outcome,
    next_folder,
    read_outcome,
)

JOB_MODULE = "gan_cli.cli.sweep_job"  # started by name, because an import would be circular
SAVE_TIMEOUT = 60.0  # seconds that a job may take to save after its sweep was killed
_printing = threading.Lock()


class JobProcesses:
    """The processes of the running jobs. While the context is active, signals to this process are forwarded to them.

    At the first signal the jobs save a checkpoint and stop. A later signal kills them, unless it belongs to the same
    request. `received` is the first signal, or None if there was none. `killing` is True after a later signal.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.killing = False
        self._received_at = 0.0
        self._running: dict[int, subprocess.Popen[str]] = {}
        self._signalled: dict[int, object] = {}

    def __enter__(self) -> JobProcesses:
        self._handling = handling(self.forward)
        self._handling.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._handling.__exit__(None, None, None)

    @contextlib.contextmanager
    def tracking(self, process: subprocess.Popen[str]) -> Iterator[None]:
        """Forwards signals to this process while the context is active."""
        self._running[process.pid] = process
        try:
            if self.received is not None:  # a signal came while the process was being started
                self._stop(process)
            yield
        finally:
            self._running.pop(process.pid, None)

    def forward(self, number: int, frame: FrameType | None = None) -> None:
        """Handles a signal: the first one tells every running job to save and stop, a later one kills the jobs."""
        if self.received is not None:
            if not is_same_request(self._received_at):
                self.kill()
            return
        self._received_at, self.received = time.monotonic(), signal.Signals(number)
        for process in list(self._running.values()):
            self._stop(process)

    def kill(self) -> None:
        """Kills every running job, which then saves nothing, and the processes that it started."""
        self.received, self.killing = self.received or signal.SIGTERM, True
        for process in list(self._running.values()):
            if process.poll() is None:
                with contextlib.suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)  # each job has a session of its own
                process.kill()

    def _stop(self, process: subprocess.Popen[str]) -> None:
        """Sends the received signal once, because a second one would end the job without saving."""
        once = object()
        if self._signalled.setdefault(process.pid, once) is once:
            assert self.received is not None
            process.send_signal(self.received)


# --- running -----------------------------------------------------------------------------------------------------


def run_job(job: Job, this: Sweep, processes: JobProcesses) -> Outcome:
    """Starts, resumes or retries the job, depending on its last status. Writes its new outcome and returns it."""
    before = load_outcome(job, this)
    folder, resumed = next_folder(job, this, before)
    if resumed:
        _wait_until_free(folder)
    how = " (resumed)" if resumed else "" if folder.name == str(job.number) else f" (again, in {folder.name})"
    print_line(f"job {job.number}: {job.varied}{how}")
    started = time.monotonic()
    request = _request_to_resume(job, folder) if resumed else _request_to_start(job, this, folder)
    prefix = f"job {job.number}: " if this.parallel_jobs > 1 or this.launcher else None
    code, errors = _run_process(request, processes, prefix)
    seconds = time.monotonic() - started + (before.seconds if resumed else 0.0)
    status, reason = classify_exit(code, errors, folder, stopping=processes.received is not None)
    code = 1 if code == 0 and status != "done" else code if code >= 0 else 128 - code
    found = build_outcome(job, this, folder, status, reason)
    outcome = found.model_copy(update={"seconds": round(seconds, 1), "code": code})
    _write_outcome(outcome, folder)
    print_line(f"job {job.number} {status}, {seconds:.0f} s")
    return outcome


def keep_outcome(job: Job, this: Sweep) -> Outcome:
    """Returns the job's outcome, and writes it if the job finished while its sweep was dead."""
    found = load_outcome(job, this)
    folder = this.folder / (found.folder or "")
    if found.status in FINAL and read_outcome(folder) is None:
        _write_outcome(found, folder)
    return found


def outcome_without_process(job: Job, this: Sweep, reason: str) -> Outcome:
    """Returns the job's outcome. If its launcher's process ended before it wrote one, writes that it was killed."""
    found = load_outcome(job, this)
    folder = this.folder / (found.folder or str(job.number))
    if found.status not in FINAL and read_outcome(folder) is None:
        found = build_outcome(job, this, folder, "killed", reason)
        _write_outcome(found, folder)
    return found


def _write_outcome(outcome: Outcome, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / JOB_OUTCOME, outcome.model_dump(by_alias=True))
    except OSError as error:  # for example a full disk; the sweep goes on, because the run's record also has the status
        print_line(f"warning: {folder / JOB_OUTCOME}: cannot be written ({describe_reason(error, folder)}); going on")


def _request_to_start(job: Job, this: Sweep, folder: Path) -> dict[str, Any]:
    threads = [] if this.threads is None or job.sets_threads else [f"threads={this.threads}"]
    return {"arguments": [*this.flags, *job.overrides, *threads], "folder": str(folder)}


def _request_to_resume(job: Job, folder: Path) -> dict[str, Any]:
    """The run's checkpoint holds all settings but those that every command must name, wherever the user set them."""
    typed = [override for override in job.overrides if override.lstrip("+").partition("=")[0] in NAMED_AGAIN]
    return {"arguments": [f"resume={folder.absolute()}", *typed, *job.of_files], "folder": None}


def _wait_until_free(folder: Path) -> None:
    """Waits at most SAVE_TIMEOUT seconds for a job whose sweep was killed and that may still save its checkpoint."""
    until = time.monotonic() + SAVE_TIMEOUT
    while time.monotonic() < until:
        try:
            return lock(folder).close()
        except UnsafeFileError:  # the job will report this error
            return
        except StorageError:
            time.sleep(0.1)


def _run_process(request: dict[str, Any], processes: JobProcesses, prefix: str | None) -> tuple[int, str]:
    """Runs a job's process to its end. Returns its exit code and the text that it wrote to standard error.

    If `prefix` is not None, it is printed before each output line of the job. The job runs in its own session, so that
    Ctrl-C reaches it only once, forwarded by this process. Its standard input stays open: if this process ends, the
    input ends too, and the job then stops itself.
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
            with contextlib.suppress(BrokenPipeError):  # the job ended before it read; its exit code says why
                process.stdin.write(json.dumps(request) + "\n")
                process.stdin.flush()
            printer = threading.Thread(target=_print_lines, args=(process.stdout, prefix), daemon=True)
            printer.start()
            code = process.wait()
        printer.join(timeout=5)  # a process that the job left behind may keep the pipe open
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        errors.seek(0)
        text = errors.read()
    sys.stderr.write(text)
    return code, text


def _print_lines(stream: IO[str] | None, prefix: str | None) -> None:
    """Prints each line of a job's output, if it comes through a pipe, with the prefix before it."""
    with contextlib.suppress(OSError, ValueError), stream or contextlib.nullcontext():
        for line in stream or ():
            print_line(f"{prefix}{line}".rstrip("\n"))


def print_line(line: str) -> None:
    """Prints a line; a lock keeps lines of several threads from being mixed."""
    with _printing:
        print(line, flush=True)
