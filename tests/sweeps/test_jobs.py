"""The processes of a sweep's jobs: what signals reach them, once, and where they are tried again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gan_cli import stop_signals
from gan_cli.sweeps.jobs import JobProcesses, _request_to_resume
from gan_cli.sweeps.outcomes import Job, last_attempt, last_attempts

# Says which signals came.
LISTENER = """
import signal, sys
def told(number, frame):
    print(signal.Signals(number).name, flush=True)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
    signal.signal(number, told)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def listener() -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", LISTENER], stdin=pipe, stdout=pipe, text=True, start_new_session=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        yield child
        child.kill()


@pytest.mark.parametrize("sent", ["SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP"])
def test_the_first_signal_is_passed_on_and_a_later_one_kills(
    listener: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch, sent: str
) -> None:
    """A signal right after the first one, as `timeout` sends it, does nothing."""
    number = getattr(signal, sent)
    with JobProcesses() as processes, processes.tracking(listener):
        os.kill(os.getpid(), number)
        assert processes.received == number
        assert listener.stdout is not None
        assert listener.stdout.readline() == f"{sent}\n"
        os.kill(os.getpid(), number)
        listener.send_signal(signal.SIGUSR1)
        assert listener.stdout.readline() == "SIGUSR1\n"  # it neither was killed nor got another signal
        monkeypatch.setattr(stop_signals, "REPEAT_SECONDS", 0.0)
        os.kill(os.getpid(), number)
        assert listener.wait(timeout=10) == -signal.SIGKILL


FAMILY = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(20); print('alive')"])
print(child.pid, flush=True)
child.wait()
"""


def test_a_kill_ends_the_processes_that_a_job_has_started() -> None:
    """As those of a run by several processes."""
    with subprocess.Popen(
        [sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as job:
        assert job.stdout is not None
        assert int(job.stdout.readline()) > 0
        with JobProcesses() as processes, processes.tracking(job):
            processes.kill()
        assert job.wait(timeout=10) == -signal.SIGKILL
        assert job.stdout.read() == ""  # the child, which has the other end too, has ended


def test_a_job_that_is_just_beginning_learns_of_it_once(listener: subprocess.Popen[str]) -> None:
    with JobProcesses() as processes:
        os.kill(os.getpid(), signal.SIGTERM)
        with processes.tracking(listener), processes.tracking(listener):
            pass
    assert listener.communicate(timeout=10)[0] == "SIGTERM\n"


def test_signals_are_as_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in stop_signals.STOP_CODES]
    with JobProcesses():
        assert [signal.getsignal(number) for number in stop_signals.STOP_CODES] != before
    assert [signal.getsignal(number) for number in stop_signals.STOP_CODES] == before


def test_the_last_try_of_each_job_counts(tmp_path: Path) -> None:
    for name in ("0", "1", "1-2", "1-3", "10", "10-2", "12-x", "notes", "7-2"):
        (tmp_path / name).mkdir()
    (tmp_path / "3").touch()
    assert [path.name for path in last_attempts(tmp_path)] == ["0", "1-3", "10-2"]
    assert last_attempt(tmp_path, 2) is None


def test_a_resumed_job_names_again_what_a_checkpoint_alone_may_not_choose(tmp_path: Path) -> None:
    named = ["threads=20", "dataset.download=true", "dataset.cache=/data", "logger=[wandb]"]
    named += ["dataset.path=https://x.org/{0..3}.tar", "++dataset.test_path=https://x.org/4.tar"]
    job = Job(job=0, key="k", config={}, seed=1, overrides=["steps=5", *named, "seed=1", "dataset=webdataset"])
    assert _request_to_resume(job, tmp_path)["arguments"] == [f"resume={tmp_path}", *named]
