"""Benchmarks of training commands: scores, what is kept of runs, plans and tables."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import first_command
import first_command_tables
import losses
import scores
import trials

SIDE = 32
NOISE = torch.randint(0, 256, (60, 3, 4, 4), generator=torch.Generator().manual_seed(0)).float()
PICTURES = torch.nn.functional.interpolate(NOISE, (SIDE, SIDE), mode="bilinear").round().byte()
ACROSS = torch.arange(SIDE)


@pytest.mark.parametrize(
    ("pattern", "least", "most"),
    [
        (torch.zeros(SIDE), 0.7, 1.4),
        (ACROSS % 2 * 2.0 - 1, 5, 1e9),
        (ACROSS // 2 % 2 * 2.0 - 1, 5, 1e9),
        ((ACROSS % 2 * 2.0 - 1) * (ACROSS[:, None] % 2 * 2.0 - 1), 5, 1e9),
        (torch.sin(ACROSS * (2 * torch.pi / 8)), 0.1, 1.4),
    ],
    ids=["none", "columns_of_period_2", "columns_of_period_4", "checkerboard", "columns_of_period_8"],
)
def test_checkerboards_are_what_repeats_every_2_or_4_pixels(pattern: torch.Tensor, least: float, most: float) -> None:
    real, others = PICTURES[:30], PICTURES[30:].float()
    fakes = (others + 30 * pattern).clamp(0, 255).byte()
    assert least < scores.checkerboard(fakes, real) < most


def test_blur_has_less_of_it_than_real_pictures() -> None:
    sharp = torch.randint(0, 256, (20, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    blurred = torch.nn.functional.avg_pool2d(sharp.float(), 5, stride=1, padding=2)
    assert scores.checkerboard(blurred, sharp) < 0.3


def test_a_run_that_broke_is_run_again_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cases = [losses.Case("digits", loss, "1s", 0) for loss in ("hinge", "minimax", "bce")]
    started: list[str] = []

    def run(case: Any) -> dict[str, Any]:
        started.append(case.loss)
        if case.loss == "minimax" and started.count("minimax") == 1:
            raise trials.BrokenRun("it broke")
        return {"steps": 3, "data": "of the run"}

    assert trials.run_missing("kept", cases, run) == 1
    assert trials.run_missing("kept", cases, run) == 0
    assert trials.run_missing("kept", cases, run) == 0
    assert started == ["hinge", "minimax", "bce", "minimax"]
    kept = json.loads(Path("outputs/bench/kept.json").read_text())["rows"]
    assert [(row["loss"], row["data"], row["steps"]) for row in kept] == [
        ("hinge", "digits", 3), ("bce", "digits", 3), ("minimax", "digits", 3),
    ]  # fmt: skip


def program(folder: Path, code: int) -> trials.Program:
    """A gan-train that leaves a run and exits so, and a gan-sample that leaves two images."""
    record = {"ended": {"status": "done", "step": 5, "seconds": 1.5}, "findings": [{"name": "mode_collapse"}]}
    train = f"mkdir -p run/1; echo '{json.dumps(record)}' > run/1/config.json; exit {code}"
    np.savez(folder / "two.npz", images=np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3))
    sample = f"mkdir -p made; cp {folder}/two.npz made/"
    for name, text in (("gan-train", train), ("gan-sample", sample)):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return trials.Program(folder / "python")


def test_a_run_is_sampled_by_its_own_program(tmp_path: Path) -> None:
    trained = trials.train(program(tmp_path, 0), ["loss=hinge"], 2, 1.0)
    assert trained.samples is not None
    assert trained.samples.shape == (2, 3, 4, 6)
    assert trained.samples[0, :, 0, 1].tolist() == [3, 4, 5]
    assert (trained.facts["steps"], trained.facts["findings"]) == (5, ["mode_collapse"])


def test_a_run_that_diverged_is_a_result_and_one_that_failed_is_none(tmp_path: Path) -> None:
    assert trials.train(program(tmp_path, 4), [], 2, 1.0).samples is None
    with pytest.raises(trials.BrokenRun, match="exit code 2"):
        trials.train(program(tmp_path, 2), [], 2, 1.0)


def test_an_option_is_offered_if_the_help_lists_it(tmp_path: Path) -> None:
    asked = program(tmp_path, 0)
    (tmp_path / "gan-train").write_text("#!/bin/sh\necho '  recipe      auto, none'\necho '  recipes are not it'\n")
    assert asked.offers("recipe", "none")
    assert not asked.offers("recipe", "non")
    assert not asked.offers("loss", "none")


def test_the_plans_fit_their_hours() -> None:
    whole = first_command.plan(["5m", "15m"], quick=False, before=True)
    quick = first_command.plan(["5m"], quick=True, before=True)
    assert first_command.expected_seconds(whole) <= 8 * 3600
    assert first_command.expected_seconds(quick) <= 1.1 * 3600
    assert len(set(whole)) == len(whole)
    assert set(quick) < set(whole)
    for name in first_command.REPEATED:
        seeds = {case.seed for case in whole if case[:3] == (name, "as typed", "15m")}
        assert seeds == {0, 1, 2}
    assert not any(case.variant.startswith("before") for case in first_command.plan(["5m"], False, False))


def row(variant: str, frechet: float, **changed: Any) -> dict[str, Any]:
    floor = {"frechet": 0.5, "precision": 0.9, "recall": 0.8}
    scored = {"frechet": frechet, "precision": 0.81, "recall": 0.4, "floor": floor}
    return {
        "pictures": "micah", "variant": variant, "length": "15m", "seed": 0, "status": "done", "steps": 900,
        "seconds": 900.0, "findings": [], "commit": "abcdefgh", "changed": False, "classifier": scored,
        "random": scored, "memorized": 0.0, "memorization_flag": False, "repeated": 0.1, "checkerboard": 1.0,
        **changed,
    }  # fmt: skip


def test_goals_stand_beside_what_was_reached() -> None:
    rows = [row("as typed", 0.6), row("as typed", 0.8, seed=1, checkerboard=1.9), row("three numbers", 1.4)]
    line = first_command_tables.goals(rows).splitlines()[-1]
    assert [cell.strip() for cell in line.split("|")[1:-1]] == [
        "15m", "micah", "0.50 met", "1.40 met", "0.90 met", "0.50 missed", "1.00 met", "1.00 met", "1.90 missed",
        "0 of 2 met", "0 of 2 met",
    ]  # fmt: skip


def test_a_run_that_took_one_thread_is_seen_in_the_table() -> None:
    rows = [row("as typed", 0.6, threads=2), row("as typed", 0.8, seed=1, threads=1), row("three numbers", 1.4)]
    head, _, *lines = first_command_tables.results(rows).splitlines()
    column = [cell.strip() for cell in head.split("|")].index("threads")
    assert [line.split("|")[column].strip() for line in lines] == ["2, 1", "?"]


def test_a_collapse_and_a_run_that_diverged_are_seen_in_the_tables() -> None:
    diverged = {key: value for key, value in row("as typed", 0.0).items() if key in first_command.Case._fields}
    diverged |= {"status": "diverged", "steps": 7, "seconds": 2.0, "findings": ["mode_collapse"], "commit": None}
    text = first_command_tables.tables([row("three numbers", 1.4), diverged])
    assert "mode_collapse 1 of 1" in text
    assert "diverged missed" in text
    assert "1 of 1 missed" in text


def test_losses_are_compared_with_the_best_of_each_data_set() -> None:
    def of(loss: str, data: str, frechet: float | None) -> dict[str, Any]:
        scored = {} if frechet is None else {"classifier": {"frechet": frechet}}
        return {"loss": loss, "data": data, "length": "60s", "seed": 0, **scored}

    text = losses.summary(
        [of("non_saturating", "digits", 8.0), of("wasserstein", "digits", 12.0), of("hinge", "digits", 4.0),
         of("hinge", "fashion", 4.0), of("wasserstein", "fashion", None)]
    )  # fmt: skip
    cells = {line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]] for line in text.splitlines()[2:5]}
    assert cells["wasserstein"] == ["12.00", "12.00", "3.00", "", "diverged", ""]
    assert cells["non_saturating"] == ["8.00", "8.00", "2.00", "", "", ""]
    assert "wasserstein on digits; wasserstein is 1.50 x" in text
    assert "wasserstein on fashion" in text
    assert "hinge on" not in text
