"""`dry_run=true` shows what would be trained, tries it, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gan_cli.cli.main import run_command
from gan_cli.launch.dry_run import _recorded_shapes
from gan_cli.models.build_networks import count_parameters
from gan_cli.state.train_state import build_state
from support.configs import TINY_IMAGES, compose, without


def dry(capsys: pytest.CaptureFixture[str], *overrides: str) -> str:
    assert run_command("train", [*overrides, "dry_run=true"]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


@pytest.mark.parametrize("overrides", [TINY_IMAGES, ("experiment=ring", "batch_size=8")], ids=["images", "points"])
def test_it_shows_config_networks_and_a_step_and_writes_nothing(
    here: Path, capsys: pytest.CaptureFixture[str], overrides: tuple[str, ...]
) -> None:
    told = dry(capsys, *overrides, "loss=wasserstein", "regularizer=gradient_penalty")
    rows = {line.split()[0]: line.split() for line in told.splitlines() if line.split()}
    assert rows["loss.name"][1:] == ["wasserstein", "you"]
    assert rows["training.n_critic"][1:] == ["5", "an", "option"]
    assert rows["seed"][1:] == ["0"]
    assert "a discriminator and a generator update on 8 samples" in told
    config = compose(*overrides, "loss=wasserstein", "regularizer=gradient_penalty")
    for network in (
        build_state(config, torch.device("cpu")).generator,
        build_state(config, torch.device("cpu")).discriminator,
    ):
        assert f"{count_parameters(network):,}" in told
    assert f"8 x {' x '.join(map(str, config.sample_shape))}" in told
    assert list(here.rglob("*")) == []


def test_it_shows_what_d_sees(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = dry(capsys, *TINY_IMAGES, "training.pack=2", "training.augment=[color]", "training.instance_noise=0.1")
    assert "4 x 2 x 16 x 16" in told


@pytest.mark.parametrize("normalization", ["none", "batch", "layer", "instance", "spectral"])
def test_every_parameter_is_in_a_row_and_looking_changes_nothing(normalization: str) -> None:
    config = compose(*TINY_IMAGES, f"architecture.generator.normalization={normalization}")
    network = build_state(config, torch.device("cpu")).generator
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with _recorded_shapes(network) as seen, torch.no_grad():
        network(torch.randn(4, 8), None)
    assert sum(count_parameters(module) for _, module, _ in seen) == count_parameters(network)
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("more", [["resume=auto"], ["-m", "seed=1,2"], ["batch_size=300"]])
def test_what_it_cannot_show_is_refused(here: Path, capsys: pytest.CaptureFixture[str], more: list[str]) -> None:
    assert run_command("train", [*without(TINY_IMAGES, "batch_size"), *more, "dry_run=true"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(here.rglob("*")) == []
