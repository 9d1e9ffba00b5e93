"""What a restored state takes from its checkpoint, and where a run goes back to that was stopped."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gan_cli.state.checkpoint import Checkpoint
from gan_cli.state.train_state import Counters, TrainState, build_state, state_tensors
from gan_cli.storage.run_folder import CHECKPOINTS, PAUSED
from gan_cli.training.rollback import restore
from support.configs import TINY_IMAGES, compose, without
from support.runs import assert_equal_runs, last_checkpoint
from support.training import stop_after, wrap_updates

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
    held = 0.1 if before is not None and end is None else 0.0  # 5 of 50 steps
    assert state.counters == Counters(5, 6, end, retries=1, held_progress=held)
    assert {name: value.item() for name, value in state.last_penalties.items()} == {"r1": 0.5}


DIVERGING = [
    *without(TINY_IMAGES, "training.checkpoint_every", "training.sample_every"), "steps=8",
    "training.checkpoint_every=3", "training.sample_every=1", "keep=1", "health.on_nonfinite=rollback",
]  # fmt: skip


def diverge_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fills a parameter of G with NaN after step 5 of a run that was never rolled back."""

    def poisoned(step: Callable[..., object], state: TrainState, *arguments: Any) -> object:
        outcome = step(state, *arguments)
        if (state.counters.step, state.counters.retries) == (5, 0):
            with torch.no_grad():
                next(state.generator.parameters()).fill_(float("nan"))
        return outcome

    wrap_updates(monkeypatch, poisoned)


@pytest.mark.parametrize("updates", [7, 8, 10])
def test_a_run_that_was_stopped_goes_back_to_where_an_unbroken_one_does(
    train: Callable[..., Path], trained: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, updates: int
) -> None:
    """Stopped between D and G after a scheduled checkpoint, at the next step, and amid the update that diverges."""
    diverge_once(monkeypatch)
    whole = trained(*DIVERGING, "name=whole")
    with monkeypatch.context() as patch:
        stop_after(updates, patch)
        broken = train(*DIVERGING, "name=broken", code=130)
    assert (broken / CHECKPOINTS / PAUSED).exists()
    grids = [int(path.stem.removeprefix("step_")) for path in (broken / "samples").glob("step_*.png")]
    assert max(grids) <= last_checkpoint(broken).counters.step  # none is left of the steps that are made anew
    train(f"resume={broken}")
    assert last_checkpoint(broken).counters.retries == 1
    assert_equal_runs(whole, broken)
    names = [sorted(path.name for path in (run / CHECKPOINTS).iterdir()) for run in (whole, broken)]
    assert names[0] == names[1]
