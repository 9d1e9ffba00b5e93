"""Small sweeps, their leaderboards, and a replacement for the processes of their jobs."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from support.configs import TINY_IMAGES
from support.preloaded_python import preloaded_python

# Points of a ring, whose modes are counted. A job takes some seconds, most of them to import torch.
TINY_POINTS = ("experiment=ring", "dataset.size=500", "batch_size=8", "threads=1", "training.log_every=1")
TINY_POINTS += ("training.sample_every=0", "training.checkpoint_every=2")
UNEVALUATED_IMAGES = (*TINY_IMAGES, "evaluation.metrics=[]")  # needs no training of a classifier


def load_leaderboard(folder: Path) -> dict[str, Any]:
    """Loads the leaderboard of the one sweep below a folder."""
    return json.loads(next(folder.glob("*/*/sweep_*/leaderboard.json")).read_text())


def job_statuses(board: dict[str, Any]) -> list[str]:
    """Returns the status of each job of a leaderboard."""
    return [job["status"] for job in board["jobs"]]


def wait_for_metrics(parent: subprocess.Popen[str], folder: Path, count: int = 1) -> list[Path]:
    """Waits until so many jobs of a running sweep have logged metrics. Returns the files of metrics."""
    while True:
        running = [path for path in folder.glob("outputs/*/sweep_*/*/metrics.jsonl") if path.read_text()]
        if len(running) >= count:
            return running
        assert parent.poll() is None, (folder / "error").read_text()
        time.sleep(0.05)


def wait_until(happened: Callable[[], bool], seconds: float = 30) -> None:
    """Waits until a condition holds. Fails after so many seconds."""
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.02)


@contextlib.contextmanager
def started(folder: Path, *overrides: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A running `gan-train` in a process of its own, in this folder. Its output is in the files `out` and `error`."""
    with open(folder / "out", "w") as out, open(folder / "error", "w") as error:
        process = subprocess.Popen(
            [preloaded_python(), "-m", "gan_cli.cli", "train", *overrides],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=out,
            stderr=error,
            text=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


# Read by each Python that has this folder on its path: replaces the runs of a sweep's jobs, in their own processes.
# RUNS names a file with what shall happen to a run, by its overrides.
FAKE_RUNS = """
import json, os, signal, sys, time
from pathlib import Path
from gan_cli.cli import main

real = main.run_command

def run_command(command, arguments, folder=None):
    if "-m" in arguments:
        return real(command, arguments, folder)
    resumed = [each for each in arguments if each.startswith("resume=")]
    folder = Path(resumed[0].partition("=")[2]) if resumed else folder
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    (folder / "checkpoints" / "last.safetensors").touch()
    planned = json.loads(Path(os.environ["RUNS"]).read_text())
    what = next((end for words, end in planned.items() if {*words.split()} <= {*arguments} and not resumed), "end")
    end = {"end": "done", "diverge": "diverged"}.get(what)
    record = {"resumed": resumed, "threads": 1, **({"ended": {"status": end, "seconds": 1.0}} if end else {})}
    (folder / "config.json").write_text(json.dumps(record))
    print("step 1", flush=True)
    if what == "wait":
        def stop(number, frame):
            (folder / "stopped").touch()
            os._exit(128 + number)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, stop)
    (folder / "metrics.jsonl").write_text(json.dumps({"step": 5, "modes/covered": 4}) + "\\n")
    while what == "wait":
        time.sleep(0.02)
    if what == "raise":
        raise RuntimeError("planted")
    if what == "exit":
        sys.exit(7)
    if what == "leave":
        os._exit(0)
    if what == "kill":
        os.kill(os.getpid(), 9)
    if what == "interrupt":
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored in the background
        os.kill(os.getpid(), 2)
    if what == "diverge":
        print("gan-train: loss is not finite", file=sys.stderr)
        return 4
    return 0

main.run_command = run_command
"""


class FakeJobs:
    """Replaces the process of a job: writes the files of a run without training, and keeps each request.

    `codes` gives an exit code by override, `lines` the values of `metric` by the override of the seed, `findings` the
    health findings of each job.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.codes: dict[str, int] = {}  # by override
        self.metric = "frechet-classifier"
        self.lines: Callable[[str], list[float]] = lambda override: [1.0]
        self.findings: list[str] = []
        self.signal: int | None = None  # sent to this process during each job

    def __call__(self, request: dict[str, Any], children: object, prefix: str | None) -> tuple[int, str]:
        self.requests.append(request)
        if self.signal is not None:
            os.kill(os.getpid(), self.signal)
        arguments = request["arguments"]
        resumed = next((each.partition("=")[2] for each in arguments if each.startswith("resume=")), None)
        folder = Path(resumed or request["folder"])
        code = next((self.codes[each] for each in arguments if each in self.codes), 0)
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        (folder / "checkpoints" / "last.safetensors").touch()
        values = self.lines(next((each for each in arguments if each.startswith("seed=")), ""))
        lines = [
            {"step": step, self.metric: value, "accuracy/class": step / 10, "findings": self.findings}
            for step, value in enumerate(values, start=1)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        status = {0: "done", 4: "collapsed"}.get(code, "")
        record = {
            "threads": 1,
            "config": {"evaluation": {"metrics": ["frechet"]}},
            **({"ended": {"status": status, "seconds": 2.0}} if status else {}),
        }
        (folder / "config.json").write_text(json.dumps(record))
        return code, "Traceback (most recent call last):\nOSError: gone\n" if code == 1 else ""

    def take_requested_folders(self) -> list[str]:
        """Returns the requested folders, sorted, with `+` before resumed ones, and clears `requests`."""
        found = [
            "+" + Path(each["arguments"][0]).name if each["folder"] is None else Path(each["folder"]).name
            for each in self.requests
        ]
        self.requests.clear()
        return sorted(found)
