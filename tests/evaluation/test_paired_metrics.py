"""Metrics of pairs beside those without a network: a perfect network, the best method of each metric, and the cache."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_cli.cli.main import run_command
from gan_cli.config.metric_names import ranking_value
from gan_cli.data.dataset import to_signed_unit
from gan_cli.data.load_dataset import build_dataset
from gan_cli.errors import UsageError, format_number
from gan_cli.evaluation import checkpoint_evaluation, paired_metrics, without_network
from gan_cli.evaluation.compute import available_metrics, check_metrics, evaluate_samples
from gan_cli.evaluation.evaluate import _titles
from gan_cli.evaluation.paired_inputs import paired_inputs
from gan_cli.evaluation.paired_metrics import (
    compare_without_network,
    metrics_without_network,
)
from gan_cli.evaluation.real_data import Protocol, find_real_data
from gan_cli.evaluation.reference import Reference, build_extractor, build_reference
from gan_cli.reports.evaluation_table import describe_not_beaten
from gan_cli.runs.best_metrics import read_best_metrics
from gan_cli.storage.evaluation_file import MetricResult, load_newest_evaluation
from support.commands import error_line
from support.configs import compose
from support.images import write_image
from support.tasks import RUNS, TINY

Train = Callable[..., Path]
Evaluate = Callable[..., tuple[dict[str, Any], str]]
N = 60
HOLE = ["psnr/hole", "l1/hole"]


def reference_of(*overrides: str, extractor: str = "random", protocol: Protocol | None = None) -> Reference:
    config = compose(*overrides, *TINY)
    real = find_real_data(config.dataset, config.image_size, build_dataset(config.dataset, config.image_size))
    protocols = () if protocol is None else (protocol,)
    reference = build_reference(real, build_extractor(extractor, real), N, lambda *_: None, *protocols)
    reference.inputs = paired_inputs(config, real, reference.n)
    return reference


def values_of(results: list[MetricResult]) -> dict[str, float]:
    return {metric.name: metric.value for metric in results}


@pytest.mark.parametrize("protocol", [None, Protocol("train")])
def test_a_perfect_network(here: Path, protocol: Protocol | None) -> None:
    reference = reference_of(*RUNS["inpainting"], extractor="classifier", protocol=protocol)
    assert reference.inputs is not None
    names = [name for name in available_metrics(reference) if name not in ("diversity", "memorization")]
    assert names[:6] == ["psnr", "ssim", "l1", "sharpness", "paired", "class_kept"]
    results, _ = evaluate_samples(reference, reference.inputs.truth, names[:6], resamples=3)
    expected = {"psnr": 100, "psnr/hole": 100, "ssim": 1, "l1": 0, "l1/hole": 0, "sharpness": 1}
    expected |= {"paired-classifier": 0, "class_kept-classifier": 1}
    assert values_of(results) == pytest.approx(expected, abs=1e-9)
    assert [metric.better for metric in results] == [
        "higher", "higher", "higher", "lower", "lower", "near 1", "lower", "higher",
    ]  # fmt: skip
    assert {metric.n for metric in results} == {N}


def test_samples_are_compared_each_with_its_own_true_image(here: Path) -> None:
    """Other images of the same data are far from the true ones, though their distribution is the same."""
    reference = reference_of(*RUNS["super_resolution"])
    assert reference.inputs is not None
    truth = reference.inputs.truth
    right, wrong = (
        values_of(evaluate_samples(reference, samples, ["psnr", "paired", "frechet"], resamples=0)[0])
        for samples in (truth, truth.roll(1, 0))
    )
    assert right["frechet-random"] == pytest.approx(wrong["frechet-random"], abs=1e-3)
    assert wrong["psnr"] < 25
    assert wrong["paired-random"] > 1
    few = values_of(evaluate_samples(reference, truth[:20], ["psnr", "paired"], resamples=0)[0])
    assert few == {"psnr": 100, "paired-random": 0}


def test_each_metric_has_its_own_best_method(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = reference_of(*RUNS["super_resolution"])
    known = {
        "one": {"psnr": 20.0, "l1": 0.1, "sharpness": 1.3, "ssim": 0.5},
        "other": {"psnr": 19.0, "l1": 0.09, "sharpness": 0.8, "ssim": 0.4},
    }
    monkeypatch.setattr(paired_metrics, "metrics_without_network", lambda *_: known)
    metrics = [MetricResult(name, value, N) for name, value in (("psnr", 20), ("l1", 0.08), ("sharpness", 1.25))]
    compared = compare_without_network([*metrics, MetricResult("frechet-random", 1, N)], reference)
    assert [(metric.without_network, metric.method) for metric in compared] == [
        (20, "one"), (0.09, "other"), (0.8, "other"), (None, ""),
    ]  # fmt: skip
    assert [*map(describe_not_beaten, compared)] == [
        "psnr 20 does not beat one without a network, 20",
        "",
        "sharpness 1.25 does not beat other without a network, 0.8",
        "",
    ]


def test_lower_ranking_values_are_better() -> None:
    assert ranking_value("sharpness", 1.1) == pytest.approx(ranking_value("sharpness", 0.9))
    assert ranking_value("sharpness", 0.95) < ranking_value("sharpness", 1.1)
    assert ranking_value("psnr", 20) < ranking_value("psnr", 19)
    assert ranking_value("paired-random", 1) < ranking_value("paired-random", 2)


def test_metrics_without_a_network_are_cached(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = reference_of(*RUNS["super_resolution"])
    inputs = reference.inputs
    assert inputs is not None
    first = metrics_without_network(reference, inputs)
    assert [*first] == ["identity", "nearest neighbour", "kernel ridge"]
    monkeypatch.setattr(paired_metrics, "answers_without_network", lambda *_: pytest.fail("computed again"))
    assert metrics_without_network(reference_of(*RUNS["super_resolution"]), inputs) == first
    fewer = dataclasses.replace(inputs, example_index=inputs.example_index[:99])
    half = reference_of("task=super_resolution", "task.factor=2", "architecture.generator.blocks=2")
    assert half.inputs is not None
    pixels = reference_of(*RUNS["super_resolution"], extractor="pixels")
    others = (reference, inputs.first(50)), (reference, fewer), (half, half.inputs), (pixels, inputs)
    for other in others:
        with pytest.raises(pytest.fail.Exception):
            metrics_without_network(*other)
    (path,) = (here.parent / "home").rglob("without-network-*")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(pytest.fail.Exception):
        metrics_without_network(reference, inputs)


def test_what_a_task_does_not_allow(here: Path) -> None:
    no_latent = reference_of(*RUNS["translation"])
    for name, words in (
        ("diversity", "needs a generator with a latent"),
        ("class_kept", "needs images of one class each with extractor=classifier"),
    ):
        with pytest.raises(UsageError, match=rf"metrics=\[{name}\]: {words}"):
            check_metrics(no_latent, [name])
    no_latent.inputs = None
    with pytest.raises(
        UsageError, match=r"metrics=\[psnr\]: compares each sample with its true image: task=generation"
    ):
        check_metrics(no_latent, ["psnr"])


# --- the commands ------------------------------------------------------------------------------------------------


@pytest.fixture
def evaluated(
    here: Path, trained: Train, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[dict[str, Any], str]]:
    """Runs `gan-eval` on a run of a task. Returns the metrics of its JSON file by name, and what was printed."""

    def evaluate(task: str, *options: str) -> tuple[dict[str, Any], str]:
        begun = sorted(here.glob(f"outputs/{task}/*"))
        run = begun[0] if begun else trained(*RUNS[task], *TINY, f"name={task}")
        capsys.readouterr()
        given = [f"ckpt={run}", "resamples=3", "n=40", "extractor=random", *options]
        assert run_command("eval", given) == 0, capsys.readouterr().err
        printed = capsys.readouterr().out
        data = json.loads(Path(printed.splitlines()[-1]).read_text())
        newest = load_newest_evaluation(run)
        assert newest is not None
        assert [metric.method for metric in newest.figures] == [each["method"] for each in data["figures"]]
        return {each["name"]: each for each in data["figures"]}, printed

    return evaluate


def test_the_table_has_a_column_without_a_network(evaluated: Evaluate) -> None:
    found, printed = evaluated("super_resolution")
    assert "inputs: 40 held-out images" in printed
    assert "without G: identity, nearest neighbour, kernel ridge; learned from 200 of 200 training images" in printed
    (header,) = (line for line in printed.splitlines() if line.startswith(" metric"))
    assert header.split() == [
        "metric",
        "value",
        "95",
        "%",
        "interval",
        "without",
        "G",
        "floor",
        "n",
        "reals",
        "s",
        "better",
    ]
    assert [*found][:5] == ["psnr", "ssim", "l1", "sharpness", "paired-random"]
    for name in [*found][:5]:
        assert found[name]["without_network"] is not None
        (row,) = (line for line in printed.splitlines() if line.startswith(f" {name} "))
        assert found[name]["method"] in row
        beaten = ranking_value(name, found[name]["value"]) < ranking_value(name, found[name]["without_network"])
        assert (f"\n{name} {format_number(found[name]['value'], 3)} does not beat" in printed) != beaten
    verdicts = [number for number, line in enumerate(printed.splitlines()) if " does not beat " in line]
    assert min(verdicts, default=99) > printed.splitlines().index(header)  # after what is logged on the way
    assert found["frechet-random"]["without_network"] > 0
    assert found["frechet-random"]["method"] in ("identity", "kernel ridge")
    assert found["kernel-random"]["without_network"] is None
    assert "without-network" not in printed


@pytest.mark.parametrize(
    ("metrics", "needed"),
    [("psnr", False), ("psnr,ssim,l1,sharpness,diversity,memorization", False), ("paired", True), ("l1,frechet", True)],
)
def test_a_classifier_is_trained_only_for_metrics_that_use_features(metrics: str, needed: bool) -> None:
    config = compose(*RUNS["inpainting"], *TINY)
    real = find_real_data(config.dataset, config.image_size, build_dataset(config.dataset, config.image_size))
    asked: list[str] = []

    def load(*given: object) -> tuple[None, str]:
        asked.append("classifier")
        return None, "none"

    assert build_extractor("auto", real, load=load, metrics=metrics.split(",")).name == "random"
    assert asked == ["classifier"] * needed


def test_the_frechet_distance_without_a_network_is_that_of_the_answers(
    evaluated: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers that are the true images have the distance of the real images from themselves."""
    monkeypatch.setattr(
        paired_metrics, "answers_without_network", lambda inputs: [("it", to_signed_unit(inputs.truth))]
    )
    found, _ = evaluated("super_resolution", "metrics=[frechet]")
    assert found["frechet-random"]["without_network"] == pytest.approx(0, abs=1e-4)
    assert found["frechet-random"]["method"] == "it"


@pytest.mark.parametrize(("metrics", "shown"), [("[psnr,l1]", False), ("[psnr,frechet]", True)])
def test_a_table_of_paired_metrics_alone_has_no_floors(
    evaluated: Evaluate, here: Path, metrics: str, shown: bool
) -> None:
    _, printed = evaluated("super_resolution", f"metrics={metrics}")
    (header,) = (line for line in printed.splitlines() if line.startswith(" metric"))
    assert ("floor" in header) == shown
    judged_by = "random" if shown else "psnr-l1"  # metrics that use no features name the file
    assert [*here.glob(f"outputs/super_resolution/*/evaluations/*_{judged_by}_n*.json")]
    (page,) = here.glob("outputs/super_resolution/*/report.html")
    assert (">floor</th>" in page.read_text()) == ("The floor (red line)" in page.read_text()) == shown


@pytest.mark.parametrize(("width", "expected"), [(80, "metric,value,without G,floor"), (140, "95 % interval,n,better")])
def test_a_narrow_table_keeps_the_column_without_a_network(width: int, expected: str) -> None:
    assert {*expected.split(",")} <= {*_titles(width, of_task=True)}
    assert ("s" in _titles(width, of_task=True)) == (width == 140)
    assert "without G" not in _titles(width, of_task=False)


def test_a_report_shows_what_is_reached_without_a_network(evaluated: Evaluate, here: Path) -> None:
    evaluated("super_resolution", "metrics=[psnr,frechet]")
    (page,) = here.glob("outputs/super_resolution/*/report.html")
    text = page.read_text()
    assert "without G" in text
    assert "kernel ridge</td>" in text
    assert "<small>higher is better</small>" in text


def test_hidden_parts_and_diversity_are_measured(evaluated: Evaluate) -> None:
    found, printed = evaluated("inpainting")
    assert "kernel ridge is left out, as it needs the same mask for all images" in printed
    assert found["psnr/hole"]["value"] < found["psnr"]["value"]
    assert found["l1/hole"]["value"] > found["l1"]["value"] > 0
    assert found["diversity"]["value"] > 0
    assert found["diversity"]["method"] == ""


def test_a_second_evaluation_is_equal_and_learns_nothing_again(
    evaluated: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, printed = evaluated("translation", "metrics=[psnr,sharpness]")
    assert "computing what simple methods reach" in printed
    monkeypatch.setattr(without_network, "kernel_ridge", lambda *_: pytest.fail("computed again"))
    second, printed = evaluated("translation", "metrics=[psnr,sharpness]")
    assert "computing what simple methods reach" not in printed
    for name, metric in first.items():
        assert {**metric, "seconds": 0} == {**second[name], "seconds": 0}


def test_training_images_as_real_ones_change_no_inputs(evaluated: Evaluate) -> None:
    first, _ = evaluated("super_resolution", "metrics=[psnr,paired]")
    second, _ = evaluated("super_resolution", "metrics=[psnr,paired,frechet]", "reals=train")
    assert {name: second[name]["value"] for name in first} == pytest.approx(
        {name: metric["value"] for name, metric in first.items()}, rel=1e-5
    )


def test_mistakes_are_one_line(trained: Train, capsys: pytest.CaptureFixture[str], here: Path) -> None:
    run = trained(*RUNS["super_resolution"], *TINY, "name=super_resolution")
    said = error_line(capsys, "eval", f"ckpt={run}", "n=201", "reals=train", "extractor=random")
    assert "n=201: there are 200 held-out images as inputs, use at most that many" in said
    said = error_line(capsys, "train", *TINY[:3], "evaluation.metrics=[frechet,psnr]")
    assert "evaluation.metrics=[psnr]: compares each sample with its true image: task=generation has none" in said
    for name in ("a", "b"):
        (here / name).mkdir()
    said = error_line(capsys, "eval", "real=a", "fake=b", "metrics=[ssim]")
    assert "metrics=[ssim]: compares pairs, which folders are not; give a run of a task as ckpt=" in said
    changed = [each for each in RUNS["translation"] if "levels" not in each]
    said = error_line(capsys, "train", *changed, *TINY[:4], "evaluation.metrics=[psnr]", "evaluation.best=psnr/hole")
    assert "evaluation.best=psnr/hole: is for task=inpainting, which has hidden parts" in said


@pytest.mark.parametrize(
    ("task", "typed", "words"),
    [
        ("super_resolution", ["metrics=[diversity]"], "needs a generator with a latent"),
        ("inpainting", ["metrics=[psnr,class_kept]", "extractor=pixels"], "needs images of one class each with"),
        ("inpainting", ["metrics=[inception_score]", "extractor=random"], "or extractor=inception"),
        ("inpainting", ["metrics=[modes]", "extractor=inception"], "needs points whose modes are known"),
    ],
)
def test_metrics_that_the_run_does_not_allow_are_refused_before_the_data_are_read(
    task: str,
    typed: list[str],
    words: str,
    trained: Train,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = trained(*RUNS[task], *TINY, f"name={task}")
    monkeypatch.setattr(checkpoint_evaluation, "build_dataset", lambda *_: pytest.fail("the data were read"))
    assert words in error_line(capsys, "eval", f"ckpt={run}", *typed)
    in_training = [f"evaluation.{each}" for each in typed]
    if "modes" not in typed[0]:
        assert f"evaluation.{typed[0][:9]}" in error_line(capsys, "train", *RUNS[task], *TINY, *in_training)


def test_metrics_of_classes_are_refused_before_features_of_data_without_classes(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("real", "fake"):
        for number in range(12):
            write_image(here / name / f"{number}.png", (number, 0, 0))
    monkeypatch.setattr(checkpoint_evaluation, "build_extractor", lambda *_: pytest.fail("an extractor was built"))
    said = error_line(capsys, "eval", "real=real", "fake=fake", "metrics=[inception_score]")
    assert "metrics=[inception_score]: needs images of one class each" in said


def test_a_run_measures_pairs_and_keeps_the_sharpness_nearest_to_one(train: Train) -> None:
    names = "evaluation.metrics=[diversity,psnr,sharpness,l1,paired,frechet]"
    more = ("training.evaluate_every=1", "evaluation.n=20", "evaluation.extractor=random", "evaluation.best=sharpness")
    run = train(*RUNS["inpainting"], *TINY, names, *more)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found = {line["step"]: line for line in lines if "sharpness" in line}
    assert [*found] == [1, 2, 3]
    assert {"diversity", "psnr", *HOLE, "l1", "paired-random", "frechet-random"} <= found[3].keys()
    best = min(found, key=lambda step: abs(found[step]["sharpness"] - 1))
    kept = read_best_metrics(run)
    assert kept.best == "sharpness"
    assert kept.metrics["sharpness"] == found[best]["sharpness"]
    assert torch.tensor([line["psnr"] for line in found.values()]).isfinite().all()
