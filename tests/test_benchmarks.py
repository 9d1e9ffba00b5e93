"""What the benchmarks share."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gan_cli.training import steps
from support.configs import TINY_IMAGES, without
from support.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import gpu_networks
import process_faults
import report
import scaling
import stalls
import startup

import sampling


def test_the_timed_parts_of_the_loop_exist() -> None:
    with stalls.timed("_train_until_stop", []):
        assert all(callable(getattr(stalls.loop, name)) for name in stalls.PARTS.values())


@pytest.fixture
def run(trained: Callable[..., Path]) -> Path:
    return trained(*TINY_IMAGES, "steps=1", "name=run")


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


def test_pictures_to_scale_with_are_a_data_set(tmp_path: Path) -> None:
    path = scaling.write_zip(tmp_path / "some.zip", 120, side=8)
    measured = scaling.measure(
        [
            *without(TINY_IMAGES, "dataset", "image_size"),
            "dataset=folder",
            f"dataset.path={path}",
            "image_size=16",
            f"dataset.cache={tmp_path / 'cache'}",
        ]
    )
    assert measured.keys() == {"ms_per_image", "data_seconds", "anon_mb", "peak_mb"}
    assert all(value is None or value >= 0 for value in measured.values())


@pytest.mark.parametrize("kinds", [["a", "b"], ["a", "b", "c"]])
def test_each_kind_of_fault_comes_with_each_number_of_processes(kinds: list[str]) -> None:
    planned = process_faults.planned(kinds, [2, 4], 2 * len(kinds))
    assert [kind for kind, _ in planned] == 2 * kinds
    assert sorted(planned) == [(kind, count) for kind in kinds for count in (2, 4)]


def test_a_fault_is_one_line_of_the_table() -> None:
    row = process_faults.row(1, process_faults.Result("stop", 2, "process 1, step 7", 5.43, 6, "resumed"))
    assert row.split("  ")[0] == "1"
    assert row.endswith("passed")
    assert "  5.4  " in row
    broken = process_faults.Result("stop", 2, faults=["ended after 20.0 s, not within 10"])
    assert process_faults.row(1, broken).endswith("FAILED: ended after 20.0 s, not within 10")


def test_sampling_is_measured(run: Path, tmp_path: Path) -> None:
    measured = sampling.measure(str(run), 70, "npz", str(tmp_path / "made"))
    assert measured["ratio"] == pytest.approx(measured["gan_sample"] / measured["bare"], abs=0.01)
    assert len(list((tmp_path / "made").iterdir())) == 2


def test_a_mistake_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert 0 < startup.command_seconds(str(tmp_path), "lrr=1") < 60


def test_a_first_step_is_timed(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """In this process, which has imported torch already."""

    def run_here(folder: str, flag: str, code: str) -> SimpleNamespace:
        exec(code, {})  # noqa: S102
        return SimpleNamespace(stdout=capsys.readouterr().out)

    monkeypatch.setattr(steps, "generator_step", steps.generator_step)  # restored in the end
    monkeypatch.setattr(startup, "_run", run_here)
    assert 0 < startup.first_step_seconds(str(here)) < 60


def test_networks_are_measured_beside_a_plain_loop_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gpu_networks, "DEVICE", torch.device("cpu"))
    words = "--networks dcgan --side 16 --steps 1 --rounds 1 --batch 4 --threads 1 --variants fp32 checkpointed"
    monkeypatch.setattr(sys, "argv", ["gpu_networks.py", *words.split()])
    gpu_networks.main()
    rows = json.loads(Path("outputs/bench/gpu_networks.json").read_text())["rows"]
    assert [row["variant"] for row in rows] == ["plain loop", "fp32", "checkpointed"]
    assert all(row["images_per_second"] > 0 and "error" not in row for row in rows)
    assert rows[0]["ratio"] == 1
    assert "outputs/bench/gpu_networks.json" in capsys.readouterr().out


def test_a_run_by_two_processes_is_measured_in_turn_with_one() -> None:
    few = [*without(TINY_IMAGES, "threads", "training")]
    rows = scaling.process_rows(few, 1, 4, 1, ["1 process, 1 thread", "2 processes, 1 thread each"])
    assert [row["run"] for row in rows] == ["1 process, 1 thread", "2 processes, 1 thread each"]
    assert rows[0]["ratio"] == 1
    assert all(row["images_per_second"] > 0 for row in rows)
