"""TensorBoard and Weights & Biases beside a run: told what it tells, and never the end of it."""

from __future__ import annotations

import csv
import json
import os
import sys
import tracemalloc
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from gan_cli import extras
from gan_cli.cli.main import run_command
from gan_cli.runs import trackers
from gan_cli.runs.log import RunLog, read_metrics
from gan_cli.runs.trackers import has_key
from gan_cli.state.checkpoint import LAST, load
from gan_cli.storage.run_files import UnsafeFileError
from support.commands import run_process
from support.configs import TINY_IMAGES, compose, without

GRIDS = [*without(TINY_IMAGES, "training.sample_every"), "training.sample_every=2"]


def events_of(run: Path) -> tuple[dict[str, dict[int, float]], dict[str, list[int]]]:
    """Figures and the steps of images, as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0, "scalars": 0})
    read.Reload()
    scalars = {tag: {event.step: event.value for event in read.Scalars(tag)} for tag in read.Tags()["scalars"]}
    return scalars, {tag: [event.step for event in read.Images(tag)] for tag in read.Tags()["images"]}


def test_tensorboard_has_what_the_folder_has_and_changes_no_number(train: Callable[..., Path]) -> None:
    plain = train(*GRIDS, "steps=4", "name=plain")
    run = train(*GRIDS, "steps=4", "name=told", "logger=tensorboard")
    scalars, pictures = events_of(run)
    lines = list(read_metrics(run))
    assert len(lines) == 4
    for line in lines:
        for name in ("loss/generator", "loss/discriminator", "logits/real"):
            assert scalars[name][int(line["step"])] == pytest.approx(line[name], rel=1e-5)
    assert pictures["samples"] == [0, 2, 4]
    one, two = (load(each / "checkpoints" / LAST) for each in (plain, run))
    assert all(bool((one.tensors[name] == two.tensors[name]).all()) for name in one.tensors)
    assert one.counters == two.counters
    assert not (plain / "tensorboard").exists()


def test_a_resumed_run_goes_on_in_the_same_folder(train: Callable[..., Path], here: Path) -> None:
    """What was told after the checkpoint that it goes on from is told anew, and shown once."""
    saving = without(GRIDS, "training.checkpoint_every")
    run = train(*saving, "steps=4", "training.checkpoint_every=2", "keep=0", "name=run", "logger=tensorboard")
    for name in ("step_00000004.safetensors", LAST):
        (run / "checkpoints" / name).unlink()
    assert run_command("train", [f"resume={run}", "steps=6"]) == 0
    scalars, pictures = events_of(run)
    assert sorted(scalars["loss/generator"]) == [1, 2, 3, 4, 5, 6]
    assert pictures["samples"] == [0, 2, 4, 6]
    told = {int(line["step"]): line["loss/generator"] for line in read_metrics(run)}
    assert scalars["loss/generator"] == pytest.approx(told, rel=1e-5)
    assert run_command("train", [f"resume={run}", "extra_steps=1", "logger=[]"]) == 0
    assert sorted(events_of(run)[0]["loss/generator"])[-1] == 6
    assert json.loads((run / "config.json").read_text())["config"]["logger"] == []


class Failing:
    """Fails at its third line of figures."""

    def __init__(self, *_: object) -> None:
        self.told = 0

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.told += 1
        if self.told > 2:
            raise ConnectionError("the net\nis gone")

    def image(self, step: int, path: Path) -> None:
        assert path.is_file()

    def truncate(self, step: int) -> None: ...

    def close(self) -> None:
        raise AssertionError("was left out")


def test_a_tracker_that_fails_is_told_once_and_ends_nothing(
    train: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(trackers.OPENERS, "tensorboard", Failing)
    run = train(*GRIDS, "steps=6", "logger=tensorboard")
    said = capsys.readouterr().out
    assert said.count("logger=tensorboard") == 1
    assert "warning: logger=tensorboard failed (the net is gone); going on without it" in said
    assert len(list(read_metrics(run))) == 6


def test_one_that_cannot_be_opened_ends_nothing_either(
    train: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Any:
        raise RuntimeError("no disk")

    monkeypatch.setitem(trackers.OPENERS, "tensorboard", refuse)
    train(*GRIDS, "steps=2", "logger=[tensorboard]")
    assert "warning: logger=tensorboard cannot be opened (no disk)" in capsys.readouterr().out


def test_going_back_cuts_what_was_told(train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    cuts: list[int] = []

    class Kept(Failing):
        def metrics(self, step: int, values: Mapping[str, float]) -> None: ...

        def truncate(self, step: int) -> None:
            cuts.append(step)

        def close(self) -> None: ...

    monkeypatch.setitem(trackers.OPENERS, "tensorboard", Kept)
    run = train(*GRIDS, "steps=2", "logger=tensorboard")
    with RunLog(run) as log:
        log.attach(compose(*GRIDS, "logger=tensorboard"), 2)
        log.truncate(1)
    assert cuts == [1]
    assert [line["step"] for line in read_metrics(run)] == [1]


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_missing_package_is_said_before_there_is_a_folder(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    (here / name).mkdir()  # a folder of that name is no package
    assert run_command("train", [*TINY_IMAGES, "steps=1", f"logger={name}"]) == 2
    assert capsys.readouterr().err == f"gan-train: logger={name} needs {name}: pip install 'gan-cli[{name}]'\n"
    assert [path.name for path in here.iterdir()] == [name]


def test_an_unknown_logger_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("train", [*TINY_IMAGES, "logger=tensorbord"]) == 2
    assert "logger=tensorbord: expected a list, each one of csv, mlflow, tensorboard, wandb" in capsys.readouterr().err


def test_where_wandb_finds_a_key(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "NETRC", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    Path.home().mkdir(exist_ok=True)
    assert not has_key()
    (Path.home() / ".netrc").write_text("machine api.wandb.ai login user password " + "0" * 40 + "\n")
    (Path.home() / ".netrc").chmod(0o600)
    assert has_key()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org:8080")
    assert not has_key()
    (Path.home() / ".netrc").write_text("machine wandb.example.org login user password x\n")
    assert has_key()
    (Path.home() / ".netrc").write_text("machine\n")
    assert not has_key()
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert has_key()


def test_wandb_without_a_key_stays_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a person starts it, and goes on: both parts of the run have one id."""
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)

    def train(*overrides: str) -> str:
        done = run_process("train", *overrides, cwd=tmp_path, timeout=300, HOME=str(tmp_path / "home"))
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    said = train(*GRIDS, "steps=2", "name=run", "logger=wandb")
    assert said.count("wandb: no key") == 1
    assert "warning: logger" not in said
    run = next(tmp_path.glob("outputs/run/*"))
    assert "warning: logger" not in train(f"resume={run}", "extra_steps=2", "logger=wandb")
    kept = (run / "wandb" / "run_id.txt").read_text().strip()
    files = list(run.glob("wandb/offline-run-*/run-*.wandb"))
    assert len(files) == 2
    assert all(path.name == f"run-{kept}.wandb" for path in files)
    assert all(b"loss/generator" in path.read_bytes() for path in files)
    assert len(list(run.glob("wandb/offline-run-*/files/media/images/samples_*.png"))) == 3
    assert not (tmp_path / "wandb").exists()


# --- a table, and MLflow -----------------------------------------------------------------------------------------


def rows_of(run: Path) -> list[dict[str, str]]:
    with open(run / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_csv_has_a_row_for_each_line_and_goes_on(train: Callable[..., Path]) -> None:
    saving = without(GRIDS, "training.checkpoint_every")
    run = train(*saving, "steps=4", "training.checkpoint_every=2", "keep=0", "name=run", "logger=csv")
    for name in ("step_00000004.safetensors", LAST):
        (run / "checkpoints" / name).unlink()
    assert run_command("train", [f"resume={run}", "steps=6"]) == 0
    lines = list(read_metrics(run))
    assert [row["step"] for row in rows_of(run)] == ["1", "2", "3", "4", "5", "6"]
    for row, line in zip(rows_of(run), lines, strict=True):
        assert float(row["loss/generator"]) == line["loss/generator"]
        assert row["step"] == str(line["step"])


def test_a_figure_that_comes_later_gets_a_column(tmp_path: Path) -> None:
    table = trackers.CsvTable(compose(*TINY_IMAGES), tmp_path, 0, print)
    table.metrics(1, {"a": 0.5})
    table.metrics(2, {"b": 1.0, "a": 0.25})
    table.metrics(3, {"a": 0.125})
    assert rows_of(tmp_path) == [
        {"step": "1", "a": "0.5", "b": ""},
        {"step": "2", "a": "0.25", "b": "1.0"},
        {"step": "3", "a": "0.125", "b": ""},
    ]
    table.truncate(1)
    table.metrics(2, {"a": 2.0})
    assert [(row["step"], row["a"]) for row in rows_of(tmp_path)] == [("1", "0.5"), ("2", "2.0")]


def test_a_table_of_a_stranger_is_read_by_lines_and_never_through_another_name(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(b"step,a\r\n1,0.5\r\n")
    os.truncate(path, 300 << 20)  # as one line of zeros
    tracemalloc.start()
    try:
        trackers.CsvTable(compose(*TINY_IMAGES), tmp_path, 3, print).metrics(4, {"a": 0.25})
        assert tracemalloc.get_traced_memory()[1] < 30 << 20
    finally:
        tracemalloc.stop()
    assert rows_of(tmp_path) == [{"step": "1", "a": "0.5"}, {"step": "4", "a": "0.25"}]
    path.unlink()
    (tmp_path / "victim").write_text("precious")
    for make in (lambda: os.link(tmp_path / "victim", path), lambda: os.mkfifo(path)):
        make()
        with pytest.raises(UnsafeFileError):
            trackers.CsvTable(compose(*TINY_IMAGES), tmp_path, 0, print)
        path.unlink()
    assert (tmp_path / "victim").read_text() == "precious"


class FakeMLflow(types.ModuleType):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.told: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*values: Any, **named: Any) -> Any:
            self.told.append((name, values, named))
            return None if name == "get_experiment_by_name" else types.SimpleNamespace(info=self)

        return call

    run_id = "0123abcd"


def test_mlflow_is_told_what_the_folder_has(
    train: Callable[..., Path], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    fake = FakeMLflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    monkeypatch.setattr(extras, "_is_installed", lambda name: True)
    run = train(*GRIDS, "steps=2", "logger=mlflow")
    told = {name: (values, named) for name, values, named in fake.told}
    assert told["set_tracking_uri"][0] == (f"sqlite:///{here / 'outputs/mlflow.db'}",)
    assert told["log_params"][0][0]["batch_size"] == "8"
    steps = [(values[0]["loss/generator"], named["step"]) for name, values, named in fake.told if name == "log_metrics"]
    assert steps == [(line["loss/generator"], line["step"]) for line in read_metrics(run)]
    assert sum(name == "log_artifact" for name, _, _ in fake.told) == 2
    assert fake.told[-1][0] == "end_run"
    fake.told.clear()
    assert run_command("train", [f"resume={run}", "extra_steps=1", "logger=mlflow"]) == 0
    assert [named for name, _, named in fake.told if name == "start_run"] == [{"run_id": "0123abcd"}]
