"""Metrics of a step: what a checkpoint keeps of them, and the unit of memory."""

from __future__ import annotations

import resource
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gan_cli.state.train_state import Counters
from gan_cli.training import step_metrics
from gan_cli.training.alternation import Alternation
from gan_cli.training.step_metrics import metrics_to_keep, peak_memory


@pytest.mark.parametrize(("step", "d_updates", "complete"), [(2, 2, True), (3, 4, False), (4, 4, True), (4, 5, True)])
def test_between_two_updates_of_g_all_metrics_of_d_are_kept(step: int, d_updates: int, complete: bool) -> None:
    """After a complete round, the penalties alone."""
    run: Any = SimpleNamespace(
        state=SimpleNamespace(
            counters=Counters(step, d_updates, None),
            last_penalties={"r1": torch.tensor(0.5)},
            discriminator_output=None,
        ),
        objective=SimpleNamespace(alternation=Alternation(2, 2)),
        saved_metrics={"loss/discriminator": 1.0, "penalty/r1": 0.5},
    )
    assert metrics_to_keep(run) == ({"penalty/r1": 0.5} if complete else run.saved_metrics)


def test_memory_is_in_mebibytes_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux counts it in KiB, macOS and CUDA in bytes."""
    usage = SimpleNamespace(ru_maxrss=3 * 2**20)
    monkeypatch.setattr(resource, "getrusage", lambda who: usage)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 5 * 2**20 + 2**18)
    found = {}
    for platform in ("linux", "darwin"):
        monkeypatch.setattr(step_metrics, "sys", SimpleNamespace(platform=platform))
        found[platform] = peak_memory(torch.device("cpu"))
    assert found == {"linux": 3072.0, "darwin": 3.0}
    assert peak_memory(torch.device("cuda")) == 5.2
