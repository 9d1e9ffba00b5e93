"""Small sweeps, their leaderboards, and a replacement for the processes of their jobs."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.configs import TINY_IMAGES

# Points, whose modes are counted: a job of some seconds, of which most is importing torch.
TINY = ("experiment=ring", "dataset.size=500", "batch_size=8", "threads=1", "training.log_every=1")
TINY += ("training.sample_every=0", "training.checkpoint_every=2")
UNJUDGED = (*TINY_IMAGES, "evaluation.metrics=[]")  # pictures without a classifier to train first


def board_in(folder: Path) -> dict[str, Any]:
    return json.loads(next(folder.glob("*/*/sweep_*/leaderboard.json")).read_text())


def statuses(board: dict[str, Any]) -> list[str]:
    return [job["status"] for job in board["jobs"]]


def wait_for(parent: subprocess.Popen[str], folder: Path, count: int = 1) -> list[Path]:
    """Until so many jobs have lines of metrics."""
    while True:
        running = [path for path in folder.glob("outputs/*/sweep_*/*/metrics.jsonl") if path.read_text()]
        if len(running) >= count:
            return running
        assert parent.poll() is None, parent.communicate()
        time.sleep(0.05)


class Runs:
    """Stands in for a job's process: writes what a run leaves, and keeps what was asked for."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.codes: dict[str, int] = {}  # by override
        self.figure = "frechet-classifier"
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
            {"step": step, self.figure: value, "accuracy/class": step / 10}
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

    def asked(self) -> list[str]:
        """The folders that were asked for since this was last asked, `+` before those that went on."""
        found = [
            "+" + Path(each["arguments"][0]).name if each["folder"] is None else Path(each["folder"]).name
            for each in self.requests
        ]
        self.requests.clear()
        return sorted(found)
