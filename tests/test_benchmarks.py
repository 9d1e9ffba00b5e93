"""What the benchmarks share."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import report


def test_a_table_lines_its_columns_up_and_numbers_on_the_right() -> None:
    told = report.table(
        ["what", "ms", "note"], [["a long name", 3.5, None], ["b", "12.25 ms", "slow"], ["c", None, ""]]
    )
    assert told.splitlines() == [
        "| what        |       ms | note |",
        "| ----------- | -------: | ---- |",
        "| a long name |      3.5 |      |",
        "| b           | 12.25 ms | slow |",
        "| c           |          |      |",
    ]


def test_a_table_refuses_a_row_that_is_too_short() -> None:
    with pytest.raises(ValueError, match="zip"):
        report.table(["one", "two"], [["a", 1], ["b"]])


def test_what_is_left_says_where_and_when_it_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for seconds in (2.0, 1.0):
        path = report.leave("speed", {"rows": [{"seconds": seconds}]})
    assert path == Path("outputs/bench/speed.json")
    told = json.loads(path.read_text())
    assert told["rows"] == [{"seconds": 1.0}]
    assert told["date"].startswith("20")
    assert told["machine"].keys() >= {"cpu", "cores", "torch", "commit"}
    assert told["machine"]["cpu"]
    assert [entry.name for entry in path.parent.iterdir()] == ["speed.json"]
