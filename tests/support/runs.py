"""What a training run leaves in its folder."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from gan_cli.state import checkpoint
from gan_cli.state.checkpoint import LAST, Checkpoint
from gan_cli.storage.run_folder import CHECKPOINTS

TIMED = ("images_per_second", "seconds", "memory/peak_mb")  # what differs between equal runs


def last(run: Path) -> Checkpoint:
    return checkpoint.load(run / CHECKPOINTS / LAST)


def metrics(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMED} for line in lines]


def assert_equal_runs(one: Path, other: Path) -> None:
    first, second = last(one), last(other)
    assert first.counters == second.counters
    assert first.tensors.keys() == second.tensors.keys()
    for name, tensor in first.tensors.items():
        assert torch.equal(tensor.view(-1).view(torch.uint8), second.tensors[name].view(-1).view(torch.uint8)), name
    assert metrics(one) == metrics(other)
