"""The processes of a sweep's jobs: what signals reach them, once, and where they are tried again."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gan_cli import stop_signals
from gan_cli.cli.main import run_command
from gan_cli.config import search_path
from gan_cli.plugins.option_sources import read_option_sources
from gan_cli.sweeps.hydra_launcher import _trial
from gan_cli.sweeps.jobs import JobProcesses, _request_to_resume
from gan_cli.sweeps.outcomes import Job, last_attempt, last_attempts
from gan_cli.sweeps.plan import plan
from support.commands import write_text
from support.sweeps import FakeJobs

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


SHARDS = """# @package _global_
defaults:
  - override /dataset: webdataset
name: of_file
output: runs
image_size: 16
threads: 3
jobs: 2
logger: [csv, wandb]
dataset:
  path: [https://x.org/a.tar, b.tar]
  test_path: https://x.org/c.tar
  cache: /elsewhere
evaluation:
  metrics: []
health:
  on_collapse: warn
"""
OF_SHARDS = ["dataset.path=[https://x.org/a.tar,b.tar]", "dataset.test_path=https://x.org/c.tar"]
OF_SHARDS += ["dataset.cache=/elsewhere", "logger=[csv,wandb]", "threads=3"]


@pytest.fixture
def shards(here: Path) -> Iterator[Path]:
    (here / "b.tar").touch()
    yield write_text(here / "mine/experiment/shards.yaml", SHARDS).parent.parent
    search_path.set_explicit_folder(None)
    search_path.forget_used_files()


def test_a_resumed_job_names_again_what_a_file_of_options_sets(fake_jobs: FakeJobs, here: Path, shards: Path) -> None:
    """The file also sets where the sweep is, which the same command finds."""
    command = ["-m", "--config-dir", str(shards), "experiment=shards", "seed=1,2"]
    fake_jobs.codes = {"seed=2": -9}
    assert run_command("train", command) != 0
    assert not any("threads=" in word for request in fake_jobs.requests for word in request["arguments"])
    fake_jobs.requests.clear()
    assert run_command("train", command) == 0
    (sweep,) = (here / "runs/of_file").iterdir()
    assert [request["arguments"] for request in fake_jobs.requests] == [[f"resume={sweep}/1", *OF_SHARDS]]
    assert "/elsewhere" not in (sweep / "sweep.json").read_text() + (sweep / "1/outcome.json").read_text()


def test_what_is_typed_counts_and_not_the_file(shards: Path, tmp_path: Path) -> None:
    typed = ["dataset.cache=/typed", "threads=5", "logger=[csv]"]
    arguments = read_option_sources(["--config-dir", str(shards), "experiment=shards", *typed])
    (job,) = plan(arguments, "").jobs
    assert _request_to_resume(job, tmp_path)["arguments"] == [f"resume={tmp_path}", *typed, *OF_SHARDS[:2]]


def test_a_trial_names_again_what_a_file_of_options_sets(shards: Path, tmp_path: Path) -> None:
    """Its sweep adds nothing to what the file sets."""
    search = ["hydra/sweeper=optuna", "conditioning=projection", "optimizer.lr=interval(1e-4,1e-2)"]
    this = plan(read_option_sources(["--config-dir", str(shards), "experiment=shards", *search]), "")
    assert (this.added, "hydra.sweeper.n_jobs=2" in this.sweeper) == ((), True)
    this = dataclasses.replace(this, folder=tmp_path)
    trial = _trial(this, ["experiment=shards", "optimizer.lr=0.001"], {})
    assert _request_to_resume(trial, tmp_path)["arguments"] == [f"resume={tmp_path}", *OF_SHARDS]
    assert _trial(this, ["experiment=shards", "image_size=x"], {}).of_files == OF_SHARDS
    assert _trial(this, ["experiment=gone"], {}).of_files == []  # its run says what is wrong


def test_a_file_of_options_says_how_many_jobs_a_launcher_runs(shards: Path) -> None:
    joblib = ["hydra/launcher=joblib", "seed=1,2"]
    this = plan(read_option_sources(["--config-dir", str(shards), "experiment=shards", *joblib]), "")
    assert "hydra.launcher.n_jobs=2" in this.launcher
