"""Folders of runs and sweeps that a report can be made of, without training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from gan_cli.config import train_config
from support.configs import compose

METRIC_LINES = [
    {
        "step": step,
        "loss/discriminator": 1.4 - step / 1000,
        "loss/generator": 0.7 + step / 500,
        "logits/real": 0.5,
        "logits/fake": -0.5,
        "accuracy/real": 0.6,
        "accuracy/fake": 0.7,
        "grad_norm/discriminator": 0.01 * 10 ** (step / 150),
        "grad_norm/generator": 1.0,
        "learning_rate/generator": 1e-3,
        "images_per_second": 1000.0,
        "frechet-classifier": 9.0 - step / 100,
    }
    for step in range(50, 451, 50)
]
HOSTILE_TEXT = "<script>window.broken=1</script><img src=x onerror=broken()>\"'</textarea>{{ 7 * 7 }}"


@cache
def config_json(*overrides: str) -> str:
    """Returns the config of a `gan-train` command line as JSON."""
    return json.dumps(train_config.to_dict(compose(*overrides)))


def recorded_config(*overrides: str) -> dict[str, Any]:
    """Returns the config of a `gan-train` command line as a run records it."""
    return json.loads(config_json(*overrides))


def write_run(
    folder: Path,
    lines: Sequence[Any] = METRIC_LINES,
    grids: Sequence[int] = (0, 200, 400),
    side: int = 64,
    **record: Any,
) -> Path:
    """Writes a run's folder as `gan-train` does. Each sample grid is of another grey. Returns the folder."""
    for name in ("samples", "checkpoints"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for step in grids:
        grey = 40 + 200 * grids.index(step) // max(1, len(grids))
        Image.new("L", (side, side), grey).save(folder / "samples" / f"step_{step:08d}.png")
    Image.new("L", (side, side), 255).save(folder / "samples" / "real.png")
    (folder / "checkpoints" / "last.safetensors").write_bytes(b"x" * 2000)
    (folder / "train.log").write_text("said\n")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    steps = max((line["step"] for line in lines), default=0)
    whole = {
        "gan_cli": "0.1.0",
        "started": "2026-11-22T20:00:00+00:00",
        "command": "gan-train dataset=shapes loss=hinge 'name=a b'",
        "directory": "/somewhere",
        "python": "3.11.7",
        "packages": {"torch": "2.14.1"},
        "git": {"commit": "0123abc", "changed": True},
        "device": "cpu",
        "threads": 1,
        "data": {"source": "drawn by gan-cli", "complete": True, "samples": 200, "fingerprint": "f00d"},
        "brought_along": {},
        "config": recorded_config("dataset=shapes", "loss=hinge", "name=a b", "threads=1"),
        "resumed": [],
        "ended": {"status": "done", "step": steps, "total_steps": steps, "seconds": 61.4},
        "findings": [],
        **record,
    }
    (folder / "config.json").write_text(json.dumps(whole))
    return folder


def write_sweep(folder: Path, **changed: Any) -> Path:
    """Writes a sweep of three losses with three seeds: one job was killed, one loss failed with every seed."""
    rows = []
    for place, (loss, mean) in enumerate((("hinge", 3.0), ("non_saturating", 12.5), ("wasserstein", None))):
        jobs = [3 * place + index for index in range(3)]
        failed = [] if loss == "hinge" else jobs[:1] if loss == "non_saturating" else jobs
        for job in jobs:
            if job not in failed:
                write_run(folder / str(job), config=recorded_config(f"loss={loss}", f"seed={job % 3 + 1}"))
        rows.append(
            {
                "config": {"loss": loss},
                "seeds": [1, 2, 3],
                "values": [] if mean is None else [None if job in failed else mean + job % 3 for job in jobs],
                "mean": mean,
                "interval": None if mean is None else [mean - 1, mean + 1.5],
                "seconds": 10.0 + place,
                "findings": ["mode_collapse"] if loss == "non_saturating" else [],
                "failures": [
                    {"job": job, "seed": job % 3 + 1, "status": "killed", "reason": f"killed by SIGKILL {HOSTILE_TEXT}"}
                    for job in failed
                ],
                "status": "failed" if mean is None else "partial" if failed else "done",
                "repeat": f"gan-train dataset=shapes loss={loss} seed=1",
                "jobs": jobs,
                "folders": [str(job) for job in jobs],
            }
        )
    board = {
        "metric": "frechet-classifier",
        "better": "lower",
        "command": "gan-train -m dataset=shapes loss=hinge,non_saturating,wasserstein seed=1,2,3",
        "varied": ["loss", "seed"],
        "rows": rows,
        "jobs": [],
        **changed,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "leaderboard.json").write_text(json.dumps(board))
    return folder
