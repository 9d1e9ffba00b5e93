"""`init_from`: the networks and weights of an old run, and all else fresh."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from gan_cli.cli.main import run_command
from gan_cli.data.load_dataset import build_batches, build_dataset
from gan_cli.errors import UsageError
from gan_cli.launch.fine_tune import adopt_networks
from gan_cli.models.build_networks import freeze_layers
from gan_cli.state.train_state import build_state, load_network_tensors
from gan_cli.training.objective import build_objective
from gan_cli.training.steps import training_step
from support.configs import TINY_IMAGES, compose, without
from support.runs import assert_equal_runs, last_checkpoint
from support.training import stop_after

DATA = [override for override in TINY_IMAGES if not override.startswith(("architecture", "image_size"))]


@pytest.fixture
def old(trained: Callable[..., Path]) -> Path:
    return trained(*TINY_IMAGES, "steps=12", "name=old")


def test_weights_are_taken_and_the_rest_is_fresh(train: Callable[..., Path], old: Path) -> None:
    run = train(*DATA, f"init_from={old}", "steps=1", "name=new", "optimizer.lr=0")
    before, after = last_checkpoint(old), last_checkpoint(run)
    assert after.counters.step == 1
    assert after.config.architecture == before.config.architecture
    assert after.config.image_size == 16
    for name, tensor in before.tensors.items():
        if name.startswith(("generator.", "discriminator.")) and "running" not in name and "num_batches" not in name:
            assert torch.equal(tensor, after.tensors[name]), name  # a rate of zero keeps them
    steps = [tensor for name, tensor in after.tensors.items() if "_optimizer.step." in name]
    assert steps
    assert all(step == 1 for step in steps)  # the old optimizers had made 12
    record = json.loads((run / "config.json").read_text())
    assert record["brought_along"]["architecture.generator.base_channels"] == 4
    assert f"weights: from {old}" in (run / "train.log").read_text()
    assert "step 12, sha256" in (run / "train.log").read_text()


def test_the_average_goes_on_from_the_old_average(train: Callable[..., Path], old: Path) -> None:
    config = compose(*TINY_IMAGES, f"init_from={old}")
    state = build_state(config, torch.device("cpu"))
    load_network_tensors(state, last_checkpoint(old).tensors)
    assert state.generator_ema is not None
    for name, tensor in state.generator_ema.state_dict().items():
        assert torch.equal(tensor, last_checkpoint(old).tensors[f"generator_ema.{name}"])
    kept = train(*DATA, f"init_from={old}", "steps=1", "name=kept", "training.ema_decay=0.999")
    before, after = (last_checkpoint(run).tensors["generator_ema.project.weight"] for run in (old, kept))
    assert (before - after).norm() < 0.01 * (before - last_checkpoint(kept).tensors["generator.project.weight"]).norm()
    bare = train(*TINY_IMAGES, "training.ema_decay=0", "steps=2", "name=bare")
    load_network_tensors(state, last_checkpoint(bare).tensors)
    for name, tensor in state.generator_ema.state_dict().items():
        assert torch.equal(tensor, last_checkpoint(bare).tensors[f"generator.{name}"])


def test_a_run_by_name_or_by_file(train: Callable[..., Path], old: Path) -> None:
    one = train(*DATA, f"init_from={old.parent}", "steps=3", "name=one")
    two = train(*DATA, f"init_from={old / 'checkpoints/last.safetensors'}", "steps=3", "name=two")
    assert last_checkpoint(one).sha256 != last_checkpoint(old).sha256
    first, second = last_checkpoint(one).tensors, last_checkpoint(two).tensors
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name])


@pytest.mark.parametrize("freeze", [0, 2])
def test_it_goes_on_bit_for_bit(
    train: Callable[..., Path], old: Path, monkeypatch: pytest.MonkeyPatch, freeze: int
) -> None:
    overrides = [*DATA, f"init_from={old}", f"training.freeze_discriminator_layers={freeze}", "steps=8", "seed=4"]
    whole = train(*overrides, "name=whole")
    with monkeypatch.context() as patch:
        stop_after(7, patch)
        broken = train(*overrides, "name=broken", code=130)
    train(f"resume={broken}")
    assert_equal_runs(whole, broken)


def test_frozen_layers_keep_every_byte_and_the_others_learn(train: Callable[..., Path], old: Path) -> None:
    run = train(*DATA, f"init_from={old}", "training.freeze_discriminator_layers=1", "steps=5", "name=frozen")
    before, after = last_checkpoint(old).tensors, last_checkpoint(run).tensors
    same = {name for name in before if name.startswith("discriminator.") and torch.equal(before[name], after[name])}
    assert same == {"discriminator.layers.1.weight", "discriminator.layers.1.bias"}
    assert "discriminator_optimizer.exp_avg.layers.1.weight" not in after
    assert "discriminator_optimizer.exp_avg.layers.3.weight" in after


def test_freezing_counts_layers_and_takes_what_is_between() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 1)
    )
    freeze_layers(network, 2)
    assert [name for name, parameter in network.named_parameters() if parameter.requires_grad] == ["4.weight", "4.bias"]
    for count in (3, 9):
        with pytest.raises(UsageError, match=f"freeze_discriminator_layers={count}: the discriminator has 3 layers"):
            freeze_layers(network, count)


@pytest.mark.parametrize("normalization", ["spectral", "layer"])
def test_freezing_with_normalized_layers(normalization: str) -> None:
    config = compose(
        *TINY_IMAGES, "init_from=x", "training.freeze_discriminator_layers=1", "regularizer=weight_clip"
        if normalization == "layer" else "regularizer=none",
        f"architecture.discriminator.normalization={normalization}",
    )  # fmt: skip
    state = build_state(config, torch.device("cpu"))
    frozen = {name: value.clone() for name, value in state.discriminator.named_parameters() if not value.requires_grad}
    assert frozen
    assert all(name.startswith("layers.1.") for name in frozen)
    batches = build_batches(config, build_dataset(config.dataset, config.image_size), state.device)
    objective = build_objective(config, batches)
    for _ in range(6):
        training_step(state, objective, batches)
    parameters = dict(state.discriminator.named_parameters())
    assert all(torch.equal(value, parameters[name]) for name, value in frozen.items())


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["architecture.generator.base_channels=8"], ["base_channels=8", "have 4"]),
        (["architecture=mlp"], ["architecture.discriminator", "leave architecture out"]),
        (["dataset=mnist", "dataset.download=false"], ["16", "dataset=mnist"]),
        (["training.freeze_discriminator_layers=40"], ["freeze_discriminator_layers=40", "4 layers"]),
    ],
)
def test_what_does_not_fit_is_refused(
    here: Path, old: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], words: list[str]
) -> None:
    data = without(DATA, "dataset") if any(text.startswith("dataset=mnist") for text in overrides) else DATA
    code = run_command("train", [*data, f"init_from={old}", "name=never", "steps=1", *overrides])
    error = capsys.readouterr().err
    if "dataset=mnist" in overrides:  # digits can be brought to 16 pixels: they fit
        assert code == 0
        return
    assert code == 2, error
    assert error.count("\n") == 1
    assert all(word in error for word in words), error
    assert not (here / "outputs/never").exists()


@pytest.mark.parametrize(
    ("saved", "given", "words"),
    [
        (["task=inpainting"], [], "gated_unet makes an image from an image, give task=inpainting, as that run has"),
        ([], ["task=inpainting"], "subpixel makes samples from noise, task=inpainting needs one that takes an image"),
    ],
)
def test_a_generator_of_the_other_kind_of_task_is_refused(saved: list[str], given: list[str], words: str) -> None:
    old, new = (compose("dataset=shapes", "recipe=none", *overrides) for overrides in (saved, given))
    new = dataclasses.replace(new, init_from="old")
    with pytest.raises(UsageError, match=f"^init_from=old: its generator {words}"):
        adopt_networks(new, old, ())


def test_a_sweep_leaves_the_networks_to_its_jobs(train: Callable[..., Path], here: Path) -> None:
    ring = train("experiment=ring", "steps=2", "threads=1", "name=ring")
    command = ["-m", "dataset=grid", f"init_from={ring}", "seed=1", "steps=1", "threads=1", "evaluation.metrics=[]"]
    assert run_command("train", command) == 0
    assert len(list(here.glob("outputs/*/sweep_*/*/checkpoints/step_00000001.safetensors"))) == 1


def test_points_too(train: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    ring = train("experiment=ring", "steps=2", "threads=1", "name=ring")
    run = train("dataset=grid", f"init_from={ring}", "steps=2", "threads=1", "name=grid")
    assert last_checkpoint(run).config.architecture == last_checkpoint(ring).config.architecture
    assert run_command("train", ["dataset=shapes", f"init_from={ring}"]) == 2
    assert "its networks are for samples of 2, dataset=shapes has 1x32x32" in capsys.readouterr().err


def test_attention_s_gain_learns_as_long_as_its_layers_do() -> None:
    for count, learns in ((2, True), (5, True), (7, False)):
        config = compose(
            "dataset=shapes", "architecture=resnet", "architecture.discriminator.attention=16", "init_from=x",
            f"training.freeze_discriminator_layers={count}", "architecture.discriminator.base_channels=8",
        )  # fmt: skip
        network = build_state(config, torch.device("cpu")).discriminator
        gains = [parameter for name, parameter in network.named_parameters() if name.endswith("gamma")]
        assert [parameter.requires_grad for parameter in gains] == [learns], count


def test_a_run_goes_on_when_what_it_started_from_is_gone(train: Callable[..., Path], old: Path) -> None:
    line = [*DATA, f"init_from={old}", "name=auto", "resume=auto"]
    first = train(*line, "steps=2")
    shutil.rmtree(old)
    assert train(*line, "steps=3") == first


def test_a_missing_or_foreign_checkpoint(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("train", [*TINY_IMAGES, "init_from=nowhere.safetensors"]) == 2
    assert "no such checkpoint" in capsys.readouterr().err
    (here / "weights.pt").write_bytes(b"\x80\x04")
    assert run_command("train", [*TINY_IMAGES, "init_from=weights.pt"]) == 3
    assert "can run code" in capsys.readouterr().err
    assert not (here / "outputs").exists()


def test_dry_run_and_resume_auto(
    train: Callable[..., Path], old: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("train", [*DATA, f"init_from={old}", "dry_run=true"]) == 0
    assert "architecture.generator.base_channels" in capsys.readouterr().out
    line = [*DATA, f"init_from={old}", "name=auto", "resume=auto"]
    first = train(*line, "steps=2")
    assert train(*line, "steps=4") == first
    assert run_command("train", [f"resume={first}", f"init_from={first}"]) == 2
    assert "init_from: cannot change" in capsys.readouterr().err
