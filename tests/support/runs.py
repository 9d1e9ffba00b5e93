"""What a training run leaves in its folder."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from gan_cli.state import checkpoint
from gan_cli.state.checkpoint import LAST, Checkpoint
from gan_cli.storage.run_folder import CHECKPOINTS

TIMING_METRICS = ("images_per_second", "seconds", "memory/peak_mb")  # differ between equal runs


def last_checkpoint(run: Path) -> Checkpoint:
    """Loads the last checkpoint of a run."""
    return checkpoint.load(run / CHECKPOINTS / LAST)


def logged_metrics(run: Path) -> list[dict]:
    """Returns the lines of metrics.jsonl without measured times and memory."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMING_METRICS} for line in lines]


def assert_equal_runs(one: Path, other: Path) -> None:
    """Compares the tensors and counters of the last checkpoints bit for bit, and the metrics."""
    first, second = last_checkpoint(one), last_checkpoint(other)
    assert first.counters == second.counters
    assert first.tensors.keys() == second.tensors.keys()
    for name, tensor in first.tensors.items():
        assert torch.equal(tensor.view(-1).view(torch.uint8), second.tensors[name].view(-1).view(torch.uint8)), name
    assert logged_metrics(one) == logged_metrics(other)
