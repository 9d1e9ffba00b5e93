"""`dry_run=true` shows what would be trained, tries each part of it, estimates the whole, and leaves nothing behind."""

from __future__ import annotations

import json
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_cli.cli.main import run_command
from gan_cli.evaluation.metrics import classifier
from gan_cli.models.build_networks import count_parameters
from gan_cli.preflight import trial_run
from gan_cli.preflight.dry_run import _layer_outputs
from gan_cli.state.train_state import TrainState, build_state
from gan_cli.training import steps
from support.configs import TINY_IMAGES, compose, without


@pytest.fixture(autouse=True)
def temporary(here: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which temporary files are made. Trials are short."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(trial_run, "MOST_SECONDS", 0.05)
    return folder


def dry(capsys: pytest.CaptureFixture[str], *overrides: str) -> str:
    assert run_command("train", [*overrides, "dry_run=true"]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


@pytest.mark.parametrize("overrides", [TINY_IMAGES, ("experiment=ring", "batch_size=8")], ids=["images", "points"])
def test_it_shows_config_networks_and_a_step_and_writes_nothing(
    here: Path, temporary: Path, capsys: pytest.CaptureFixture[str], overrides: tuple[str, ...]
) -> None:
    told = dry(capsys, *overrides, "loss=wasserstein", "regularizer=gradient_penalty")
    rows = {line.split()[0]: line.split() for line in told.splitlines() if line.split()}
    assert rows["loss.name"][1:] == ["wasserstein", "you"]
    assert rows["training.n_critic"][1:] == ["5", "an", "option"]
    assert rows["seed"][1:] == ["0"]
    assert re.search(r"tried: \d+ discriminator updates and \d+ generator updates on 8 samples each; all numbers", told)
    assert re.search(r"metric +frechet-(random|points) of 100 samples", told)
    assert re.search(r"checkpoint .* all\s+\d+ tensors are\s+equal", told)
    config = compose(*overrides, "loss=wasserstein", "regularizer=gradient_penalty")
    for network in (
        build_state(config, torch.device("cpu")).generator,
        build_state(config, torch.device("cpu")).discriminator,
    ):
        assert f"{count_parameters(network):,}" in told
    assert f"8 x {' x '.join(map(str, config.sample_shape))}" in told
    assert max(map(len, told.partition("\ndata ")[2].partition("\ndisk:")[0].splitlines())) <= 80
    assert [*here.rglob("*"), *temporary.rglob("*")] == []


def test_it_shows_what_d_sees(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = dry(capsys, *TINY_IMAGES, "training.pack=2", "training.augment=[color]", "training.instance_noise=0.1")
    assert "4 x 2 x 16 x 16" in told


@pytest.mark.parametrize("normalization", ["none", "batch", "layer", "instance", "pixel", "spectral"])
def test_every_parameter_is_in_a_row_and_looking_changes_nothing(normalization: str) -> None:
    config = compose(*TINY_IMAGES, f"architecture.generator.normalization={normalization}")
    network = build_state(config, torch.device("cpu")).generator
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    seen = _layer_outputs(network, torch.randn(4, 8), None)
    assert sum(count_parameters(module) for _, module, _ in seen) == count_parameters(network)
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("more", [["resume=auto"], ["-m", "seed=1,2"], ["batch_size=300"]])
def test_what_it_cannot_show_is_refused(here: Path, capsys: pytest.CaptureFixture[str], more: list[str]) -> None:
    assert run_command("train", [*without(TINY_IMAGES, "batch_size"), *more, "dry_run=true"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(here.rglob("*")) == []


# --- what it leaves ----------------------------------------------------------------------------------------------


def test_nothing_is_left_if_it_fails_or_is_stopped(
    here: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*TINY_IMAGES, "dry_run=true"]
    step = steps.generator_step

    def spoil(state: TrainState, *arguments: Any) -> Any:
        torch.nn.init.constant_(next(state.generator.parameters()), torch.nan)
        return step(state, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(steps, "generator_step", spoil)
        assert run_command("train", command) == 4
    assert "is not finite" in capsys.readouterr().err

    def stop(run: Any) -> None:
        assert [*temporary.rglob("real.png")]
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(trial_run, "save_samples", stop)
    assert run_command("train", command) == 143
    assert capsys.readouterr().err == "gan-train: stopped by SIGTERM\n"
    assert [*here.rglob("*"), *temporary.rglob("*")] == []


def test_a_checkpoint_that_is_read_with_other_numbers_is_an_error(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load = trial_run.checkpoint.load

    def altered(path: Path) -> Any:
        loaded = load(path)
        next(iter(loaded.tensors.values())).view(-1)[0] += 1
        return loaded

    monkeypatch.setattr(trial_run.checkpoint, "load", altered)
    assert run_command("train", [*TINY_IMAGES, "dry_run=true"]) == 3
    assert "other tensors or counters than were saved" in capsys.readouterr().err


def test_too_little_disk_space_is_an_error(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(here)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert run_command("train", [*TINY_IMAGES, "dry_run=true"]) == 5
    shown = capsys.readouterr()
    assert re.search(r"output=outputs: needs about [\d,]+ bytes, 1,000 bytes free", shown.err)
    assert "1 kB are free" in shown.out
    assert [*here.rglob("*")] == []


# --- what it estimates -------------------------------------------------------------------------------------------


def delayed(step: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the step with a delay, so that the time of a run depends little on what else the machine does."""

    def run(*arguments: Any) -> Any:
        time.sleep(0.05)
        return step(*arguments)

    return run


def test_the_estimate_is_near_to_what_a_run_takes(
    train: Callable[..., Path], here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(steps, "generator_step", delayed(steps.generator_step))
    every = ["training.log_every=1", "training.checkpoint_every=4", "training.sample_every=10"]
    command = [*without(TINY_IMAGES, "training."), *every, "steps=20", "keep=2"]
    monkeypatch.setattr(trial_run, "MOST_SECONDS", 0.5)
    told = dry(capsys, *command)
    folder = train(*command)
    seconds = json.loads((folder / "config.json").read_text())["ended"]["seconds"]
    (estimated,) = re.findall(r"^ all +about ([\d.]+) s", told, re.M)
    assert seconds / 2 < float(estimated) < 2 * seconds
    (needed,) = re.findall(r"^disk: about ([\d,]+) kB in outputs", told, re.M)
    files = {path.stat().st_ino: path.stat().st_size for path in folder.rglob("*") if path.name != "report.html"}
    assert sum(files.values()) < 1000 * int(needed.replace(",", "")) < 2 * sum(files.values())


def test_metrics_are_tried_as_the_run_computes_them(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(classifier, "CLASSIFIER_CACHE", here / "classifiers")
    command = [*TINY_IMAGES, "conditioning=projection", "evaluation.n=50", "training.evaluate_every=1000"]
    told = dry(capsys, *command, "evaluation.metrics=[kernel]")
    assert re.search(r"metric +kernel-classifier of 50 samples", told)
    assert re.search(r"evaluations +3 ", told)
    assert "preparing evaluations" in told
    assert not (here / "classifiers").exists()
    few = [*without(TINY_IMAGES, "dataset.size"), "dataset.size=8"]
    assert run_command("train", [*few, "evaluation.metrics=[kernel]", "dry_run=true"]) == 2
    assert "these data have 8 samples, too few to compare with" in capsys.readouterr().err


def test_a_budget_gives_the_number_of_steps(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = dry(capsys, *TINY_IMAGES, "budget=2h")
    assert re.search(r"^ all +about 2 h \d+ min|^ all +about 1\d\d min|^ all +about 120 min", told, re.M)
