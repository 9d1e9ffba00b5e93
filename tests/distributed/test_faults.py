"""Processes that are stopped, killed or fail at bad moments. `benchmarks/process_faults.py` tries all kinds of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from gan_cli.cli import start_processes
from gan_cli.cli.start_processes import LOST, _wait
from gan_cli.distributed.process_environment import STARTER, STORE, TORCHRUN
from support.paths import ROOT
from torture.process_faults import KINDS, Setting, break_job
from torture.process_jobs import Job

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc, and asks Linux's kernel")
LONG = 120.0  # seconds that a busy machine may take

# A process of a run that saves (here: prints) when it gets TERM; and one that starts it and waits.
CHILD = """
import os, signal, sys, time
from gan_cli.distributed.process_environment import stop_with_parent

def stop(number, frame):
    print("saved", flush=True)
    os._exit(0)

signal.signal(signal.SIGTERM, stop)
stop_with_parent()
print(os.getpid(), flush=True)
while True:
    time.sleep(0.05)
"""
STARTING = f"""
import os, subprocess, sys
subprocess.run([sys.executable, "-c", {CHILD!r}], env=os.environ | {{{STARTER!r}: str(os.getpid())}})
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a program of Python, as one of the processes of a run that meet in the folder `meeting`."""
    started: list[subprocess.Popen[str]] = []
    (tmp_path / "meeting").mkdir()
    (tmp_path / "meeting" / "store").touch()

    def run(program: str, **variables: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), STORE: str(tmp_path / "meeting" / "store"), **variables}
        process = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("stopped", [False, True])
def test_a_process_saves_if_its_starter_is_killed(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, stopped: bool
) -> None:
    """Also if it is stopped, when it could do nothing by itself. The file in which the processes met is removed."""
    starter = start(STARTING)
    assert starter.stdout is not None
    child = int(starter.stdout.readline())
    if stopped:
        os.kill(child, signal.SIGSTOP)
        time.sleep(0.1)
    starter.kill()
    assert starter.stdout.readline() == "saved\n"
    assert not (tmp_path / "meeting").exists()


def test_a_process_stops_if_its_starter_had_ended_before(start: Callable[..., subprocess.Popen[str]]) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert start(CHILD, **{STARTER: str(ended.pid)}).communicate(timeout=LONG)[0].endswith("saved\n")


def test_a_process_of_torchrun_watches_its_parent(start: Callable[..., subprocess.Popen[str]]) -> None:
    """torchrun does not say its own number."""
    starting = STARTING.replace(f"{STARTER!r}: str(os.getpid())", f"{TORCHRUN!r}: 'none'")
    starter = start(starting)
    assert starter.stdout is not None
    os.kill(int(starter.stdout.readline()), signal.SIGSTOP)
    starter.kill()
    assert starter.stdout.readline() == "saved\n"


GIVING_UP = "from gan_cli.distributed.process_environment import end_as_lost; end_as_lost(6)"
LOSING = f"""
import os, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE, text=True)
child.stdout.readline()
child.send_signal(signal.SIGSTOP)
os.waitid(os.P_PID, child.pid, os.WSTOPPED)
child.terminate()
code = subprocess.run([sys.executable, "-c", {GIVING_UP!r}]).returncode
print(code, child.stdout.readline(), flush=True)
"""


def test_a_process_of_torchrun_that_is_stopped_continues_when_another_gives_it_up() -> None:
    """It then gets the TERM of torchrun, which otherwise waits for it."""
    process = subprocess.Popen(
        [sys.executable, "-c", LOSING], env={**os.environ, "PYTHONPATH": str(ROOT), TORCHRUN: "none"},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.communicate(timeout=LONG)[0].split() == ["6", "saved"]


# --- what the command waits for ------------------------------------------------------------------------------------


@pytest.fixture
def sleeping() -> Iterator[list[subprocess.Popen[str]]]:
    processes = [subprocess.Popen(["sleep", "600"], text=True) for _ in range(3)]
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def test_a_process_that_stays_stopped_ends_the_run(
    sleeping: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although the others, which still start, do not notice it for minutes."""
    monkeypatch.setattr(start_processes, "AFTER_LOSS", 0.2)
    sleeping[1].send_signal(signal.SIGSTOP)
    began = time.monotonic()
    assert _wait(sleeping, timeout=1) == ([LOST, LOST, LOST], {1})
    assert time.monotonic() - began > 1


def test_a_process_that_was_stopped_for_a_moment_goes_on(sleeping: list[subprocess.Popen[str]]) -> None:
    sleeping[1].send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    sleeping[1].send_signal(signal.SIGCONT)
    for process in sleeping:
        process.terminate()
    assert _wait(sleeping, timeout=0.1) == ([143, 143, 143], set())


def test_a_stopped_process_is_not_waited_for_after_another_was_lost(sleeping: list[subprocess.Popen[str]]) -> None:
    sleeping[1].send_signal(signal.SIGSTOP)
    for process in (sleeping[0], sleeping[2]):
        process.kill()
    began = time.monotonic()
    assert _wait(sleeping, timeout=600) == ([-9, LOST, -9], {1})
    assert time.monotonic() - began < start_processes.AFTER_LOSS


# --- jobs ----------------------------------------------------------------------------------------------------------

CHOSEN = ("stop_and_kill_command", "starting_kill_command", "full_disk", "torn_write")
OTHERS = [pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS if kind not in CHOSEN]


@pytest.mark.parametrize("kind", [*CHOSEN, *OTHERS])
def test_a_broken_job_ends(tmp_path: Path, kind: str) -> None:
    """With its exit code, its line and a valid checkpoint, and leaves no process."""
    setting = Setting(tmp_path, 2, 40, 5 if "stop" in kind else 60, Random(0), grace=LONG, resumes=False)
    assert break_job(kind, setting, {}).faults == []


def test_a_process_that_is_left_is_found(tmp_path: Path) -> None:
    job = Job(tmp_path, ["sh", "-c", "sleep 600 & exit"])
    try:
        assert job.seconds_until_gone(0.5) is None
        assert len(job.processes()) == 1
    finally:
        job.kill()
    assert job.seconds_until_gone(LONG) is not None
