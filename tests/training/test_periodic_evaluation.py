"""Figures worked out while a run trains: those of gan-eval, at the steps that are due, and no part of training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from gan_cli.api_arguments import parse_evaluation_options
from gan_cli.cli.main import run_command
from gan_cli.data.dataset import Dataset
from gan_cli.evaluation.checkpoint_evaluation import evaluate_checkpoint
from gan_cli.evaluation.metrics import classifier
from gan_cli.evaluation.metrics.classifier import Classifier
from gan_cli.state import checkpoint
from gan_cli.storage.run_folder import CHECKPOINTS, read_record
from gan_cli.training import periodic_evaluation
from support.configs import TINY_IMAGES, compose, without
from support.images import write_image
from support.runs import logged_metrics

ASKED = (
    "evaluation.metrics=[frechet,precision_recall]",
    "evaluation.extractor=random",
    "evaluation.n=60",
    "training.evaluate_every=2",
)


@pytest.mark.parametrize("more", [[], ["conditioning=projection"], ["architecture.generator.normalization=batch"]])
def test_they_are_those_of_gan_eval(train: Callable[..., Path], more: list[str]) -> None:
    run = train(*TINY_IMAGES, *ASKED, *more, "steps=4")
    lines = {line["step"]: line for line in logged_metrics(run)}
    assert {step for step, line in lines.items() if "frechet-random" in line} == {2, 4}
    found, _ = checkpoint.load_newest(run / CHECKPOINTS)
    options = parse_evaluation_options(
        ckpt="any", metrics=["frechet", "precision_recall"], extractor="random", n=60, resamples=0
    )
    judged, _ = evaluate_checkpoint(found, options, torch.device("cpu"))
    for figure in judged.figures:
        assert lines[4][figure.name] == pytest.approx(figure.value, rel=1e-4, abs=1e-6), figure.name
    assert {figure.name for figure in judged.figures} == {"frechet-random", "precision-random", "recall-random"}


def test_what_they_are_compared_with_is_recorded(train: Callable[..., Path]) -> None:
    run = train(*TINY_IMAGES, *ASKED, "conditioning=projection", "steps=2")
    record = read_record(run)
    told = "evaluation: frechet, precision_recall compared with 60 of 200 held-out images; floor: 60 training images"
    told += " against these"
    assert record["compared_with"] == [told]
    assert told in (run / "train.log").read_text()
    basis = record["measured_on"]
    assert basis["samples"] | {"data": "", "features": ""} == {
        "data": "", "shape": [1, 16, 16], "classes": 8, "extractor": "random", "features": "", "n": 60,
        "reals": "held_out", "n_real": 60,
    }  # fmt: skip
    assert basis["classes"]["shape"] == [1, 16, 16]
    assert "modes" not in basis


def test_training_is_as_without_them(train: Callable[..., Path]) -> None:
    plain, judged = train(*TINY_IMAGES, "steps=4", "name=plain"), train(*TINY_IMAGES, *ASKED, "steps=4", "name=judged")
    one, other = (checkpoint.load_newest(run / CHECKPOINTS)[0].tensors for run in (plain, judged))
    assert all(one[name].equal(other[name]) for name in one)


def test_points_are_compared_by_their_coordinates(train: Callable[..., Path]) -> None:
    run = train("experiment=ring", "steps=3", "threads=1", "evaluation.metrics=[frechet,kernel]", "evaluation.n=200")
    last = logged_metrics(run)[-1]
    assert last["frechet-points"] > 0
    assert "kernel-points" in last


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            ["evaluation.metrics=[inception_score]", "evaluation.extractor=random"],
            "evaluation.metrics=[inception_score]",
        ),
        (["experiment=ring", "evaluation.metrics=[frechet]", "evaluation.extractor=pixels"], "extractor=pixels"),
    ],
)
def test_what_the_data_lack_is_refused_before_the_run(
    here: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], told: str
) -> None:
    sizes = [] if overrides[0].startswith("experiment") else without(TINY_IMAGES, "threads")
    assert run_command("train", [*sizes, *overrides, "steps=1", "threads=1"]) == 2
    assert told in capsys.readouterr().err
    assert not list(here.glob("outputs/*/*"))


def test_a_resumed_run_is_judged_alike(train: Callable[..., Path]) -> None:
    whole = train(*TINY_IMAGES, *ASKED, "steps=4", "training.lr_schedule=constant", "name=whole")
    halves = train(*TINY_IMAGES, *ASKED, "steps=2", "training.lr_schedule=constant", "name=halves")
    assert run_command("train", [f"resume={halves}", "extra_steps=2"]) == 0
    assert [line.get("frechet-random") for line in logged_metrics(whole)] == [
        line.get("frechet-random") for line in logged_metrics(halves)
    ]


def test_a_classifier_at_chance_says_nothing_of_classes(
    train: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    guesses = Classifier(nn.Sequential(), 0.1)
    monkeypatch.setattr(classifier, "load_or_train_classifier", lambda *data: guesses)
    run = train(*TINY_IMAGES, "conditioning=projection", "steps=1", "training.evaluate_every=1")
    assert not any("accuracy/class" in line for line in logged_metrics(run))
    out = capsys.readouterr().out
    assert out.count("no better than guessing (") == 1
    assert "%): it does not classify samples" in out
    assert "classified as the requested class" not in out
    assert "samples were not evaluated" not in out


def test_of_few_images_no_classifier_is_trained(
    train: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier, "load_or_train_classifier", lambda *data: pytest.fail("trained"))
    monkeypatch.setattr(classifier, "FEWEST_IMAGES", 201)
    run = train(*TINY_IMAGES, "conditioning=projection", "steps=1", "training.evaluate_every=1")
    assert not any("accuracy/class" in line for line in logged_metrics(run))
    said = "classifier: 200 labelled images, fewer than 201: none is trained, it does not classify samples"
    assert capsys.readouterr().out.count(said) == 1


def test_no_classifier_is_trained_if_classes_are_not_to_be_found(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier, "load_or_train_classifier", lambda *data: pytest.fail("trained"))
    conditional = [*TINY_IMAGES, "conditioning=projection", "steps=1", "training.evaluate_every=1"]
    run = train(*conditional, "evaluation.classify=false")
    assert not any("accuracy/class" in line for line in logged_metrics(run))
    assert run_command("train", [f"resume={run}", "extra_steps=1"]) == 0
    assert read_record(run)["config"]["evaluation"]["classify"] is False


def test_a_resumed_run_can_do_without_a_classifier_too(trained: Callable[..., Path]) -> None:
    run = trained(*TINY_IMAGES, "steps=1", "evaluation.metrics=[frechet]", "evaluation.n=20", "name=judged")
    assert read_record(run)["config"]["evaluation"]["classify"] is True
    assert run_command("train", [f"resume={run}", "extra_steps=1", "evaluation.classify=false"]) == 0
    assert checkpoint.load_newest(run / CHECKPOINTS)[0].config.evaluation.classify is False


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_of_stacked_digits_there_are_26_samples_for_each_number(monkeypatch: pytest.MonkeyPatch, digits: int) -> None:
    """Published counts are of 26,000 samples of 1,000 numbers."""
    monkeypatch.setattr(periodic_evaluation, "_classifier", lambda *data: Classifier(nn.Flatten(), 1.0))
    monkeypatch.setattr(periodic_evaluation, "unstack_digits", lambda dataset: (None, None))
    dataset = Dataset(torch.zeros(2, digits, 1, 1, dtype=torch.uint8), "stacks")
    run: Any = SimpleNamespace(config=compose("dataset=stacked_mnist"), batches=SimpleNamespace(dataset=dataset))
    wanted = periodic_evaluation._stacks_to_find(run)
    assert wanted is not None
    assert len(wanted.seeds) == 26 * 10**digits


def test_an_evaluation_that_fails_is_told_and_takes_no_time() -> None:
    said: list[str] = []
    run: Any = SimpleNamespace(log=SimpleNamespace(info=said.append))  # without a config
    assert periodic_evaluation.expected_seconds(run) == 0
    assert periodic_evaluation.evaluate(run) == {}
    assert [line.partition(" (")[0] for line in said] == [
        "warning: the time of an evaluation is not known",
        "warning: samples were not evaluated",
    ]


def test_no_classifier_is_trained_of_one_class(
    train: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier, "load_or_train_classifier", lambda *data: pytest.fail("trained"))
    one = "dataset.classes=[filled circle]"
    run = train(*TINY_IMAGES, one, "conditioning=projection", "steps=1", "training.evaluate_every=1")
    assert not any("accuracy/class" in line for line in logged_metrics(run))
    assert "classifier" not in capsys.readouterr().out


def test_doubles_in_a_persons_own_pictures_are_told(train: Callable[..., Path], here: Path) -> None:
    for number in range(12):
        shade = (20 * min(number, 9), 0, 0)
        write_image(here / "pictures" / f"{number}.png", shade, (16, 16))
    tiny = [override for override in TINY_IMAGES if "dataset" not in override]
    run = train("dataset=folder", "dataset.path=pictures", "dataset.cache=none", *tiny, "steps=1")
    assert "data: duplicates: 2 of 12 training images are copies of another" in (run / "train.log").read_text()
