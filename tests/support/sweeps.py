"""Small sweeps, their leaderboards, and a replacement for the processes of their jobs."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.configs import TINY_IMAGES

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
        assert parent.poll() is None, parent.communicate()
        time.sleep(0.05)


class FakeJobs:
    """Replaces the process of a job: writes the files of a run without training, and keeps each request.

    `codes` gives an exit code by override, `lines` the values of `metric` by the override of the seed.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.codes: dict[str, int] = {}  # by override
        self.metric = "frechet-classifier"
        self.lines: Callable[[str], list[float]] = lambda override: [1.0]

    def __call__(self, request: dict[str, Any], children: object, prefix: str | None) -> tuple[int, str]:
        self.requests.append(request)
        arguments = request["arguments"]
        resumed = next((each.partition("=")[2] for each in arguments if each.startswith("resume=")), None)
        folder = Path(resumed or request["folder"])
        code = next((self.codes[each] for each in arguments if each in self.codes), 0)
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        (folder / "checkpoints" / "last.safetensors").touch()
        values = self.lines(next((each for each in arguments if each.startswith("seed=")), ""))
        lines = [
            {"step": step, self.metric: value, "accuracy/class": step / 10}
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
