"""`gan-compare`: what differs, side by side, from whatever a path names."""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gan_cli.cli.main import run_command
from gan_cli.runs.comparability import describe_differences
from gan_cli.storage.evaluation_file import EVALUATIONS, EvaluationResult, MetricResult, save_evaluation
from gan_cli.sweeps import compare
from support.commands import run_process
from support.paths import ROOT


def leave_run(folder: Path, config: dict[str, Any], *lines: dict[str, Any], status: str | None = "done") -> Path:
    """What a run leaves of itself, as far as comparing goes."""
    folder.mkdir(parents=True)
    ended = {} if status is None else {"ended": {"status": status, "seconds": 3.0}}
    (folder / "config.json").write_text(json.dumps({"config": config, **ended}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "Console", lambda: Console(width=200))


@pytest.fixture
def three(here: Path) -> list[Path]:
    common = {"seed": 1, "name": "x", "optimizer": {"lr": 0.1}}
    first = {"step": 1, "loss/generator": 5.0, "frechet-classifier": 50.0}
    return [
        leave_run(
            here / "outputs/x/2026-01-01_000000",
            common | {"loss": {"name": "hinge"}},
            first,
            {"step": 1200, "seconds": 61.5, "loss/generator": 2.0, "frechet-classifier": 12.345, "findings": ["blank"]},
        ),
        leave_run(
            here / "outputs/x/2026-01-02_000000",
            common | {"loss": {"name": "minimax"}, "name": "y"},
            first,
            {"step": 900, "frechet-classifier": 45.5},
            status="diverged",
        ),
        leave_run(here / "outputs/z/2026-01-03_000000", common | {"loss": {"name": "[/]"}}, status=None),
    ]


def cells(text: str, name: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"│ {name} "))
    return [cell.strip() for cell in line.strip("│").split("│")][1:]


def test_what_differs_and_how_each_came_out(three: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    evaluations = three[0] / EVALUATIONS
    evaluations.mkdir()
    for name, value in (("a", 99.0), ("b", 11.5)):
        figure = MetricResult("kernel-classifier", value, 2000, "lower", (10.25, 13.0))
        save_evaluation(EvaluationResult((figure,), {}), evaluations / f"{name}.json")
        os.utime(evaluations / f"{name}.json", (time.time(), time.time() + (name == "b")))
    assert run_command("compare", [str(path) for path in three]) == 0
    text = capsys.readouterr().out
    assert cells(text, "loss.name") == ["hinge", "minimax", "[/]"]
    assert not any(key in text for key in ("optimizer.lr", "seed", "│ name"))
    assert cells(text, "status") == ["done", "diverged", "not ended"]
    assert cells(text, "steps") == ["1,200", "900", ""]
    assert cells(text, "seconds")[0] == "61.5"
    assert cells(text, "findings") == ["blank", "", ""]
    assert cells(text, "frechet-classifier") == ["12.35", "45.5", ""]
    assert cells(text, "loss/generator") == ["2", "5", ""]
    assert cells(text, "kernel-classifier (gan-eval)") == ["11.5 (10.25 to 13)", "", ""]


def test_figures_are_those_of_the_best_checkpoint(three: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """As the leaderboard has them; how far the run came is that of its end."""
    (three[0] / "checkpoints").mkdir()
    (three[0] / "checkpoints" / "best.safetensors").touch()
    config = {"loss": {"name": "hinge"}, "evaluation": {"metrics": ["frechet"], "best": None}}
    (three[0] / "config.json").write_text(json.dumps({"config": config}))
    with open(three[0] / "metrics.jsonl", "a") as lines:
        lines.write(json.dumps({"step": 1300, "loss/generator": 1.0, "frechet-classifier": 20.0}) + "\n")
    assert run_command("compare", [str(path) for path in three[:2]]) == 0
    text = capsys.readouterr().out
    assert cells(text, "frechet-classifier")[0] == "12.35"
    assert cells(text, "loss/generator")[0] == "2"
    assert cells(text, "steps")[0] == "1,300"


def test_paths_may_be_names_and_sweeps(three: list[Path], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = here / "outputs/w/sweep_2026-02-01_000000"
    for folder in ("0", "1", "1-2", "10"):
        leave_run(sweep / folder, {"loss": {"name": f"of {folder}"}})
    (sweep / "2").mkdir()  # a job that was refused
    record = json.dumps({"identity": "a", "command": "b", "jobs": []})
    for text, named in itertools.product((record, "[1]", "{}", "{"), (str(sweep), "outputs/w")):  # it is not needed
        (sweep / "sweep.json").write_text(text)
        assert run_command("compare", [named]) == 0
        assert cells(capsys.readouterr().out, "loss.name") == ["of 0", "of 1-2", "of 10"]
    assert run_command("compare", ["outputs/x", "outputs/z"]) == 0
    assert cells(capsys.readouterr().out, "loss.name") == ["minimax", "[/]"]


def test_many_runs_are_several_tables_with_the_same_rows(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        leave_run(
            here / f"run {number}", {"seed": number, "steps": 10 if number else 20}, {"step": 1, "modes/covered": 4}
        )
        for number in range(compare.RUNS_PER_TABLE + 2)
    ]
    assert run_command("compare", [str(path) for path in runs]) == 0
    first, second = capsys.readouterr().out.split("run 5")
    assert cells(second, "steps") == ["10", "10"]
    assert cells(first, "modes/covered") == ["4"] * 5


def test_mistakes_are_one_line(three: list[Path], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "empty").mkdir()
    for arguments, words in (
        (["nowhere", str(three[0])], "nowhere: no run there"),
        (["empty"], "empty: no run there"),
        ([str(three[0])], "two different runs or more"),
        ([str(three[0]), str(three[0])], "two different runs or more"),
        ([], "two different runs or more"),
    ):
        assert run_command("compare", arguments) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1


def test_odd_files_do_no_harm(three: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    (three[0] / "config.json").write_text('{"config": [1], "ended": 3}')
    (three[1] / "config.json").write_text("{")
    (three[1] / "metrics.jsonl").write_text(
        '{"step": 1, "frechet-x": "a"}\n{"step": 2, "modes/covered": 1e999}\nnull\n'
    )
    assert run_command("compare", [str(path) for path in three]) == 0
    assert cells(capsys.readouterr().out, "status") == ["not ended"] * 3


def test_it_needs_no_torch(three: list[Path], here: Path) -> None:
    (here / "torch.py").write_text("raise ImportError('not wanted')")
    path = os.pathsep.join([str(here), str(ROOT)])
    done = run_process("compare", *(str(run) for run in three), cwd=here, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr


def test_the_table_as_csv(three: list[Path], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("compare", [*map(str, three), "out=table.csv"]) == 0
    assert capsys.readouterr().out.endswith("table.csv\n")
    with open(here / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == [str(folder) for folder in three]
    assert [row["loss.name"] for row in rows] == ["hinge", "minimax", "[/]"]
    assert [row["frechet-classifier"] for row in rows] == ["12.345", "45.5", ""]
    assert [row["status"] for row in rows] == ["done", "diverged", "not ended"]
    assert rows[0]["findings"] == "blank"
    assert run_command("compare", [*map(str, three), "out=table.csv"]) == 2
    assert "table.csv is there already; give another name, or overwrite=true" in capsys.readouterr().err
    assert run_command("compare", [*map(str, three), "out=table.csv", "overwrite=true"]) == 0


# --- figures that cannot be compared -----------------------------------------------------------------------------


def bold(text: str) -> set[str]:
    """The values that are called the best."""
    return {found.strip() for found in re.findall(r"\x1b\[1m([^\x1b]*)", text)}


def compared(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *runs: Path) -> str:
    monkeypatch.setattr(compare, "Console", lambda: Console(width=200, force_terminal=True))
    capsys.readouterr()
    assert run_command("compare", [str(run) for run in runs]) == 0
    return capsys.readouterr().out


def test_the_best_of_what_cannot_be_compared_is_not_marked(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    for number, size in enumerate((16, 32, 16)):
        config = {"image_size": size, "dataset": {"name": "folder", "cache": str(number)}}
        line = {"step": 1, "frechet-classifier": 5.5 + number, "loss/generator": 2.5}
        runs.append(leave_run(here / str(number), config, line))
    told = compared(capsys, monkeypatch, *runs[:2])
    assert "5.5" not in bold(told)
    assert "not compared: frechet-classifier is not measured on the same: they differ in image_size (16, 32)" in told
    told = compared(capsys, monkeypatch, runs[0], runs[2])
    assert "5.5" in bold(told)
    assert "not compared" not in told


def test_what_runs_kept_of_their_measure_says_more_than_their_configs(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two paths to the same images are compared, one path to images that have changed is not."""
    runs = []
    for number, (path, data) in enumerate((("a", "1"), ("b", "1"), ("a", "2"))):
        config = {"dataset": {"name": "folder", "path": path}}
        run = leave_run(here / str(number), config, {"step": 1, "frechet-random": 5.5 + number})
        record = json.loads((run / "config.json").read_text())
        (run / "config.json").write_text(json.dumps(record | {"measured_on": {"samples": {"data": data}}}))
        runs.append(run)
    assert "5.5" in bold(compared(capsys, monkeypatch, *runs[:2]))
    told = compared(capsys, monkeypatch, runs[0], runs[2])
    assert "5.5" not in bold(told)
    assert "not compared: frechet-random is not measured on the same: they differ in data" in told


def test_evaluations_of_other_numbers_are_not_compared(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    for number in range(2):
        run = leave_run(here / str(number), {}, {"step": 1})
        (run / EVALUATIONS).mkdir()
        basis = {"data": "1", "n": 60, "reals": ("held_out", "train")[number]}
        figures = tuple(MetricResult(name, 5.5 + number, 60, "lower") for name in ("kernel-random", "frechet-random"))
        save_evaluation(EvaluationResult(figures, {"basis": basis}), run / EVALUATIONS / "a.json")
        runs.append(run)
    told = compared(capsys, monkeypatch, *runs)
    assert "5.5" not in bold(told)
    assert "not compared (gan-eval): kernel-random, frechet-random are not measured on the same" in told
    assert "real samples (held_out, train)" in told


def test_what_a_stranger_recorded_reaches_no_terminal() -> None:
    (text,) = describe_differences([{"k\x1b[2J": "a"}, {"k\x1b[2J": "\x1b]0;title\x07"}])
    assert text.isprintable()
