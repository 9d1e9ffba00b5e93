"""What a restored state takes from its checkpoint."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gan_cli.state.checkpoint import Checkpoint
from gan_cli.state.train_state import Counters, build_state, state_tensors
from gan_cli.training.rollback import restore
from support.configs import TINY_IMAGES, compose

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("before", "end", "budget", "start"),
    [
        (50, 50, "9s", 2.0),
        (None, None, "9s", 2.0),  # stopped while the budget was measured
        (50, None, "9s", 7.0),  # a finished budget is given once more
        (50, 50, "8s", 7.0),
        (50, 50, None, 7.0),
    ],
)
def test_a_budget_goes_on_and_another_one_starts_anew(
    before: int | None, end: int | None, budget: str | None, start: float
) -> None:
    config = compose(*TINY_IMAGES, "budget=9s")
    provenance: Any = SimpleNamespace(seconds=7.0, budget_start=2.0)
    metrics = {"loss/discriminator": 1.0, "penalty/r1": 0.5}
    tensors = state_tensors(build_state(config, CPU))
    saved = Checkpoint(Path("x"), config, Counters(5, 6, before, retries=1), provenance, metrics, "", tensors)
    state = restore(saved, dataclasses.replace(config, budget=budget), end, CPU)
    assert (state.seconds, state.budget_start) == (7.0, start)
    assert state.counters == Counters(5, 6, end, retries=1)
    assert {name: value.item() for name, value in state.last_penalties.items()} == {"r1": 0.5}
