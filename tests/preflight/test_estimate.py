"""The estimate of a whole run from what its parts cost once."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from gan_cli.errors import StorageError
from gan_cli.preflight.estimate import (
    Costs,
    format_bytes,
    format_seconds,
    free_bytes,
    steps_and_parts,
    times_due,
    updates_in,
)
from gan_cli.state.train_state import Counters
from gan_cli.training.alternation import Alternation, next_network
from support.configs import TINY_IMAGES, compose, without

COSTS = Costs(
    {"update": 0.5, "log": 1, "grid": 2, "frame": 0.25, "checkpoint": 4, "evaluation": 8, "preparation": 16},
    {"log": 100, "grid": 1000, "frame": 10, "checkpoint": 10_000},
)
EVERY = [f"training.{kind}_every=10" for kind in ("log", "sample", "checkpoint", "evaluate")]
BASE = [*without(TINY_IMAGES, "training."), *EVERY]


@pytest.mark.parametrize(
    "alternation",
    [Alternation(1, 1), Alternation(5, 1), Alternation(3, 2), Alternation(5, 1, 100), Alternation(2, 3, 7)],
)
@pytest.mark.parametrize("steps", [1, 24, 25, 30, 502, 1500])
def test_updates_are_those_of_training(alternation: Alternation, steps: int) -> None:
    counters = Counters(step=0, d_updates=0, total_steps=None)
    while counters.step < steps:
        if next_network(counters, alternation) == "generator":
            counters.step += 1
        else:
            counters.d_updates += 1
    assert updates_in(steps, alternation) == counters.step + counters.d_updates


def test_work_is_due_as_in_training() -> None:
    assert [times_due(steps, 10) for steps in (1, 9, 10, 11, 20)] == [1, 1, 1, 2, 2]
    assert times_due(1000, 0) == 1


def test_parts_of_a_run() -> None:
    config = compose(*BASE, "keep=2", "evaluation.metrics=[frechet]")
    steps, parts = steps_and_parts(config, COSTS, Alternation(2, 1), 25)
    assert steps == 25
    assert {part.name: tuple(part[1:]) for part in parts} == {
        "steps": (25, 37.5, 0),
        "lines of metrics": (3, 3, 300),
        "grids": (4, 8, 5000),  # with that of real samples
        "checkpoints": (
            4,
            16,
            40_000,
        ),  # two are kept, a third is removed after the next one is complete, one is the best
        "evaluations": (3, 24, 0),
        "preparing evaluations": (1, 16, 0),
        "animation": (1, 1, 40),
    }
    config = dataclasses.replace(config, keep=0)
    assert steps_and_parts(config, COSTS, Alternation(2, 1), 25)[1][3].size == 50_000


def test_the_parts_fit_into_a_budget() -> None:
    config = compose(*BASE, "budget=300s")
    _, parts = steps_and_parts(config, COSTS, Alternation(1, 1), None)
    inside = sum(part.seconds for part in parts if part.name not in ("animation", "preparing evaluations"))
    assert 280 < inside <= 300
    assert steps_and_parts(dataclasses.replace(config, budget="1s"), COSTS, Alternation(1, 1), None)[0] == 1


def test_numbers_for_people() -> None:
    times = (0.00321, 0.0456, 2.44, 99.4, 100, 121, 3600, 12_000, 200_000)
    assert [*map(format_seconds, times)] == [
        "3.2 ms", "46 ms", "2.4 s", "99 s", "100 s", "2 min", "60 min", "3 h 20 min", "2 d 8 h"
    ]  # fmt: skip
    assert [*map(format_bytes, (500, 12_345, 3_400_000, 1.25e9))] == ["0 kB", "12 kB", "3.4 MB", "1.2 GB"]


def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    assert free_bytes(tmp_path / "not" / "there") > 0
    assert not (tmp_path / "not").exists()
    with pytest.raises(StorageError, match=r"cannot hold a run, .*/file is a file"):
        free_bytes(tmp_path / "file" / "runs")
    monkeypatch.setattr(os, "access", lambda *arguments: False)
    with pytest.raises(StorageError, match="is read-only for this user"):
        free_bytes(tmp_path / "runs")
