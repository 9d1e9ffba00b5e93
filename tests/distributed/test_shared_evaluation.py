"""Evaluations by several processes: the metrics of one process, and what happens if one of them fails or ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gan_cli.training import periodic_evaluation
from support.paths import ROOT
from support.shared_evaluation import CASES, FAILS
from torture.process_jobs import Job, gan_train

WORKER = ROOT / "tests" / "support" / "shared_evaluation.py"
LONG = 120.0  # seconds that a busy machine may take


def evaluated(count: int, folder: Path, *cases: str) -> list[dict[str, Any]]:
    """Returns what each process says of each case."""
    local = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "tests")}
    local["HOME"] = str(folder)  # the caches are there
    workers = [
        subprocess.Popen(
            [sys.executable, "-P", str(WORKER), str(rank), str(count), str(folder / "store"), *cases],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, **local},
        )
        for rank in range(count)
    ]  # fmt: skip
    found = []
    for worker in workers:
        text, errors = worker.communicate(timeout=1200)
        assert worker.returncode == 0, errors
        found.append(dict(map(json.loads, text.splitlines())))
    return found


def test_several_processes_evaluate_as_one(tmp_path: Path) -> None:
    """The same digits, of the generator of process 0, from 7 batches of which the other two processes make two each."""
    cases = [case for case in CASES if case not in FAILS]
    first, *others = evaluated(3, tmp_path, *cases)
    for case in cases:
        found = first[case]
        assert found["alone"], (case, found["said"])
        assert found["together"] == found["again"] == found["alone"], case
    assert "accuracy/class" in first["classes"]["together"]
    assert "diversity" in first["inpainting"]["together"]
    assert first["batch normalization"]["made"] == 16 + 16 + 4
    for other in others:  # two evaluations, then the estimate of their time
        assert other["batch normalization"]["made"] == [16 + 16, 16 + 16, 5]


def test_an_evaluation_that_fails_in_one_process_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    """They stop making samples, and the next evaluation succeeds."""
    first, _ = evaluated(2, tmp_path, *FAILS)
    for case, rank in FAILS.items():
        told = "process 1: no memory left" if rank else "no memory left"
        assert first[case]["together"] == {}
        assert first[case]["said"] == f"warning: samples were not evaluated ({told})"
        assert first[case]["again"] == first[case]["alone"] != {}


@pytest.mark.parametrize(
    ("n", "processes", "factor"), [(1000, 1, 10), (5000, 2, 25), (600, 2, 5), (1600, 3, 10), (500, 8, 5), (50, 2, 1)]
)
def test_the_time_of_an_evaluation_is_that_of_the_process_with_the_most_batches(
    n: int, processes: int, factor: float
) -> None:
    """From the time in which each process makes 100 samples, or all if there are fewer."""
    assert periodic_evaluation._times_as_many(n, processes) == factor


# --- commands ------------------------------------------------------------------------------------------------------

TIMEOUT = 5  # seconds of device.timeout
TINY = (
    "dataset=shapes", "dataset.size=600", "image_size=8", "batch_size=8", "threads=1", "precision=fp32", "recipe=none",
    "architecture.generator.base_channels=2", "architecture.discriminator.base_channels=2", "optimizer=sgd",
    "training.lr_schedule=constant", "training.sample_every=0", "training.checkpoint_every=0", "device=cpu",
    "name=run", "steps=2", "device.processes=2", f"device.timeout={TIMEOUT}", "evaluation.metrics=[frechet]",
    "evaluation.extractor=random", "evaluation.n=600",
)  # fmt: skip


@pytest.fixture
def evaluating(tmp_path: Path) -> Iterator[Callable[[int], Job]]:
    """Starts a run, in whose evaluation the process of this number takes half a minute; returns in the middle of it."""
    jobs: list[Job] = []

    def start(slow: int) -> Job:
        begun = tmp_path / "begun"
        job = Job(tmp_path, gan_train(*TINY), f"{slow} slow_samples {begun}")
        jobs.append(job)
        until = time.monotonic() + LONG
        while not begun.exists():
            assert job.process.poll() is None, job.errors
            assert time.monotonic() < until
            time.sleep(0.05)
        time.sleep(0.2)
        return job

    yield start
    for job in jobs:
        job.kill()


pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")


@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_signal_stops_an_evaluation(evaluating: Callable[[int], Job], rank: int) -> None:
    """In all processes, at once; the resumed run begins with it."""
    job = evaluating(1)
    os.kill(job.ranks()[rank], signal.SIGTERM)
    assert job.process.wait(LONG) == 143
    assert "stopped by SIGTERM at step 2, its evaluation and grid left for the resumed run" in job.output
    assert (job.errors, job.processes()) == ("", {})
    assert job.run is not None
    assert "frechet" not in (job.run / "metrics.jsonl").read_text()
    again = subprocess.run(gan_train("resume=run"), cwd=job.here, capture_output=True, text=True, timeout=LONG)
    assert (again.returncode, again.stderr) == (0, "")
    assert "frechet-random" in (job.run / "metrics.jsonl").read_text()


@pytest.mark.parametrize(
    ("rank", "number", "code"),
    [
        (1, signal.SIGKILL, 137),
        pytest.param(0, signal.SIGKILL, 137, marks=pytest.mark.slow),
        pytest.param(1, signal.SIGSTOP, 6, marks=pytest.mark.slow),
        pytest.param(0, signal.SIGSTOP, 6, marks=pytest.mark.slow),
    ],
)
def test_a_process_that_is_lost_in_an_evaluation_ends_the_run(
    evaluating: Callable[[int], Job], rank: int, number: signal.Signals, code: int
) -> None:
    """Within `device.timeout` and 5 seconds, and without a process that is left."""
    job = evaluating(1)
    os.kill(job.ranks()[rank], number)
    seconds = job.seconds_until_gone(LONG)
    assert seconds is not None
    assert seconds < TIMEOUT + 5
    assert job.process.wait(LONG) == code
    assert f"process {rank} of 2 " in job.errors
    assert job.errors.count("\n") == 1
