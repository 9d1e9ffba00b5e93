"""The list of due work in a checkpoint holds for one position of a run, and a forged one counts as none."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gan_cli.runs.pending_work import Due, parse_due

VALUES = {"step": 3, "seconds": 1.0, "images_per_second": 9.0, "loss/generator": 0.5}
DUE = dataclasses.asdict(Due(step=3, d_updates=4, evaluate=True, sample=False, values=VALUES, ended=False))


def test_it_holds_for_one_position() -> None:
    assert parse_due(DUE, 3, 4) == Due(**DUE)
    assert parse_due(DUE | {"values": None, "written by": "a later version"}, 3, 4) is not None
    assert parse_due(DUE, 3, 3) is None
    assert parse_due(None, 3, 4) is None


@pytest.mark.parametrize(
    "values",
    [{}, [], {**VALUES, "x": "<b>"}, {**VALUES, "x": float("nan")}, {**VALUES, "step": 4}, {"step": 3, "seconds": 1}],
    ids=str,
)
def test_a_forged_one_counts_as_none(values: Any) -> None:
    assert parse_due(DUE | {"values": values}, 3, 4) is None
