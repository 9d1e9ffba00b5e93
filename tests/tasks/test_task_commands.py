"""The commands on runs of the tasks: dry run, sweep, report, resume, other techniques, and a plugin's networks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from gan_cli.cli.main import run_command
from gan_cli.config.options.fields import section
from gan_cli.config.options.networks.architectures import GENERATOR_OPTIONS
from gan_cli.config.options.networks.network_keys import GeneratorOptions
from gan_cli.models.conditioning import ConditioningSpec
from gan_cli.models.registry import GENERATORS
from gan_cli.tasks.condition import Condition, labels_of
from support.commands import write_text
from support.configs import without
from support.runs import assert_equal_runs, last_checkpoint
from support.tasks import RUNS, TINY
from support.training import stop_after

Train = Callable[..., Path]


@pytest.mark.parametrize("task", RUNS)
def test_a_stopped_run_is_resumed_exactly(train: Train, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    whole = train(*RUNS[task], *TINY, "name=whole")
    with monkeypatch.context() as patch:
        stop_after(3, patch)  # between the updates of D and of G
        broken = train(*RUNS[task], *TINY, "name=broken", code=130)
    train(f"resume={broken}")
    assert_equal_runs(whole, broken)


@pytest.mark.parametrize(
    "more",
    [
        ("precision=bf16",),
        ("dataset.flip=both",),
        ("conditioning=projection",),
        ("conditioning=concat", "loss=hinge", "regularizer=[r1,lecam]"),
        ("training.instance_noise=0.1", "training.label_smoothing=0.1", "training.clip_grad_norm=1"),
        ("architecture/discriminator=resnet",),
        ("regularizer=js",),
        ("health.on_collapse=stop", "training.evaluate_every=2", "evaluation.metrics=[]"),
    ],
    ids=lambda more: more[0],
)
@pytest.mark.parametrize("task", ["translation", "inpainting"])
def test_a_task_goes_with_other_techniques(train: Train, task: str, more: tuple[str, ...]) -> None:
    run = train(*RUNS[task], *TINY, *more)
    assert json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 3


@pytest.mark.parametrize("task", RUNS)
def test_a_dry_run_describes_a_task(here: Path, capsys: pytest.CaptureFixture[str], task: str) -> None:
    assert run_command("train", [*RUNS[task], *TINY, "dry_run=true"]) == 0, capsys.readouterr().err
    told = capsys.readouterr().out
    assert "task.name" in told
    assert "auxiliary.l1.weight" in told
    assert list(here.iterdir()) == []


def test_a_report_shows_the_rows_of_inputs(trained: Train, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained(*RUNS["inpainting"], *TINY, "name=inpainting")
    capsys.readouterr()
    assert run_command("report", [str(run)]) == 0, capsys.readouterr().err
    assert "auxiliary/l1" in (run / "report.html").read_text()


def test_a_sweep_over_tasks(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    varied = ["task=inpainting,super_resolution", "evaluation.metrics=[]"]
    assert run_command("train", ["-m", *varied, *TINY]) == 0, capsys.readouterr().err
    records = [json.loads(path.read_text()) for path in here.glob("outputs/*/sweep_*/*/config.json")]
    assert {record["config"]["task"]["name"] for record in records} == {"inpainting", "super_resolution"}


def test_a_finished_run_names_the_commands_for_its_task(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    train(*RUNS["super_resolution"], *TINY)
    assert "input=photo.png\n" in capsys.readouterr().out
    train(*RUNS["inpainting"], *TINY)
    assert "input=photo.png mask=m.png\n" in capsys.readouterr().out


class _Network(nn.Module):
    """A plugin's generator, which is given the labels of the samples."""

    def __init__(self, sample_shape: tuple[int, ...], latent_dim: int, conditions: ConditioningSpec) -> None:
        super().__init__()
        self.sample_shape = sample_shape
        self.linear = nn.Linear(latent_dim + conditions.size, 3 * 16 * 16)

    def forward(self, latent: Tensor, condition: Condition) -> Tensor:
        assert isinstance(condition, Condition)
        values = torch.cat([latent, labels_of(condition)], 1)
        return torch.tanh(self.linear(values)).view(-1, *self.sample_shape)


class _FromImage(nn.Module):
    """A plugin's generator for inpainting, which is given an example of a condition."""

    def __init__(self, sample_shape: tuple[int, ...], given: Condition, latent_dim: int) -> None:
        super().__init__()
        assert given.image is not None
        assert given.mask is not None
        self.layer = nn.Conv2d(given.image.shape[1] + given.mask.shape[1], sample_shape[0], 3, padding=1)

    def forward(self, latent: Tensor, condition: Condition) -> Tensor:
        assert condition.image is not None
        assert condition.mask is not None
        return torch.tanh(self.layer(torch.cat([condition.image, condition.mask], 1)))


@section
class _FromImageOptions(GeneratorOptions):
    condition_parts: ClassVar[frozenset[str]] = frozenset({"image", "mask"})


@pytest.mark.parametrize(
    ("network", "options", "overrides"),
    [
        (_Network, GeneratorOptions, ("conditioning=concat",)),
        (_FromImage, _FromImageOptions, ("task=inpainting",)),
    ],
)
def test_a_network_of_a_plugin_gets_a_condition(
    train: Train,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    network: type,
    options: type,
    overrides: tuple[str, ...],
) -> None:
    monkeypatch.setitem(GENERATOR_OPTIONS, "mine", options)
    monkeypatch.setitem(GENERATORS, "mine", network)
    write_text(here / "configs/architecture/generator/mine.yaml", "name: mine\nlatent_dim: 4\n")
    run = train(*overrides, "architecture/generator=mine", *without(TINY, "architecture.generator"))
    assert last_checkpoint(run).counters.step == 3


def test_an_evaluation_says_which_inputs_it_takes(
    train: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    train(*RUNS["inpainting"], *TINY, "name=painted")
    assert run_command("eval", ["painted", "metrics=[kernel]", "extractor=pixels", "n=20", "resamples=0"]) == 0
    assert "inputs: 20 held-out images" in capsys.readouterr().out
