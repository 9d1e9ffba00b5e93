"""What an evaluation left is read as untrusted text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gan_cli.storage.evaluation_file import (
    EVALUATIONS,
    EvaluationResult,
    MetricResult,
    load_newest_evaluation,
    save_evaluation,
)

SOUND = MetricResult("frechet-classifier", 2.5, 100, "lower", (2.0, 3.0), 0.2, 1.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / EVALUATIONS).mkdir()
    return tmp_path


def test_what_is_saved_is_read(folder: Path) -> None:
    evaluated = EvaluationResult((SOUND, MetricResult("nearest-pixels", 1.0, 5)), {"step": 3})
    save_evaluation(evaluated, folder / EVALUATIONS / "one.json")
    assert load_newest_evaluation(folder) == evaluated
    assert [path.name for path in (folder / EVALUATIONS).iterdir()] == ["one.json"]


def test_what_older_files_lack_is_what_it_was_then(folder: Path) -> None:
    """No interval, no floor, and no number of real samples."""
    figure = {"name": "nearest-pixels", "value": 1, "n": 5}
    (folder / EVALUATIONS / "old.json").write_text(json.dumps({"figures": [figure], "about": {}}))
    found = load_newest_evaluation(folder)
    assert found == EvaluationResult((MetricResult("nearest-pixels", 1.0, 5, "", None, None, 0.0, "", 0),), {})


@pytest.mark.parametrize(
    "change",
    [
        {"value": "a"}, {"value": None}, {"value": float("nan")}, {"value": float("inf")}, {"value": 10**400},
        {"interval": [1.0]}, {"interval": ["a", "b"]}, {"floor": "x"}, {"n": "many"}, {"seconds": []},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_figure_is_passed_over(folder: Path, change: dict[str, object]) -> None:
    path = folder / EVALUATIONS / "odd.json"
    save_evaluation(EvaluationResult((SOUND,), {}), path)
    data = json.loads(path.read_text())
    data["figures"][0] |= change
    path.write_text(json.dumps(data))
    assert load_newest_evaluation(folder) is None


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"figures": 3, "about": {}}', '{"figures": []}'])
def test_other_files_are_passed_over(folder: Path, text: str) -> None:
    (folder / EVALUATIONS / "odd.json").write_text(text)
    assert load_newest_evaluation(folder) is None
