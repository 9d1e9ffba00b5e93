"""Figures beside real samples: real ones score the floor, bad ones far from it, and each says what it is of."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets.mnist_family import MNIST, load_digits
from gan_cli.data.load_dataset import build_dataset
from gan_cli.errors import UsageError
from gan_cli.evaluation import compute
from gan_cli.evaluation.compute import (
    TOO_FEW_SAMPLES,
    available_metrics,
    check_metrics,
    evaluate_samples,
)
from gan_cli.evaluation.metrics import classifier, feature_extractors
from gan_cli.evaluation.real_data import RealData, find_real_data
from gan_cli.evaluation.reference import Reference, build_extractor, build_reference
from gan_cli.storage.evaluation_file import MetricResult
from support.configs import compose

N = 1000


@pytest.fixture(scope="module")
def real() -> RealData:
    """3,000 digits to train on, 1,500 held out; 500 are left that are neither."""
    found = load_digits(MNIST, root="nowhere", download=False, fallback="bundled", image_size=(28, 28), split="train")
    order = torch.randperm(5000, generator=torch.Generator().manual_seed(0))
    assert found.labels is not None
    parts = [
        dataclasses.replace(found, samples=found.samples[part], labels=found.labels[part])
        for part in order.split([3000, 1500, 500])
    ]
    return RealData(parts[0], parts[0], parts[1])


@pytest.fixture
def judged_by(here: Path, real: RealData):
    def build(extractor: str, n: int = N) -> Reference:
        return build_reference(real, build_extractor(extractor, real), n)

    return build


def figures(reference: Reference, samples: Tensor, *names: str, resamples: int = 20) -> dict[str, MetricResult]:
    found, _ = evaluate_samples(reference, samples, names, resamples=resamples)
    return {figure.name: figure for figure in found}


NOISE = torch.randint(256, (N, 1, 28, 28), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)


@pytest.mark.parametrize("extractor", ["classifier", "random", "pixels"])
def test_real_samples_score_the_floor_and_bad_ones_at_least_20_times_that(judged_by, extractor: str) -> None:
    reference = judged_by(extractor)
    unused = reference.data.train.samples[-N:]  # mostly not those of the floor
    wanted = ["frechet", "kernel", "precision_recall", "density_coverage"]
    good = figures(reference, unused, *wanted)
    repeated = reference.data.train.samples[:1].repeat(N, 1, 1, 1)
    for bad in (figures(reference, samples, *wanted, resamples=0) for samples in (NOISE, repeated)):
        frechet, kernel = bad[f"frechet-{extractor}"], bad[f"kernel-{extractor}"]
        assert frechet.floor is not None
        assert kernel.floor is not None
        assert frechet.value > 20 * frechet.floor > 0
        assert kernel.value > 20 * abs(kernel.floor)
        assert bad[f"coverage-{extractor}"].value < 0.05
        assert bad[f"recall-{extractor}"].value < 0.05
    for figure in good.values():
        assert figure.floor is not None
        assert figure.interval is not None
        slack = 2 * (figure.interval[1] - figure.interval[0])
        assert figure.value == pytest.approx(figure.floor, abs=slack)


def test_the_samples_of_the_floor_score_it_exactly(judged_by) -> None:
    reference = judged_by("random")
    others = reference.data.select(N)[1]
    assert others is not None
    for figure in figures(reference, others[:], "frechet", "kernel", "precision_recall").values():
        assert figure.value == pytest.approx(figure.floor, rel=1e-9)


def test_each_figure_says_what_it_is_of(judged_by) -> None:
    reference = judged_by("classifier", 300)
    every = figures(reference, reference.data.train.samples[:300], *available_metrics(reference), resamples=10)
    assert list(every) == [
        "frechet-classifier", "kernel-classifier", "precision-classifier", "recall-classifier", "density-classifier",
        "coverage-classifier", "inception_score-classifier", "modes/covered-classifier",
        "modes/reverse_kl-classifier", "memorized-pixels", "repeated-pixels", "nearest-pixels",
    ]  # fmt: skip
    for figure in every.values():
        assert figure.n == 300
        assert figure.interval is not None
        assert figure.interval[0] <= figure.value <= figure.interval[1]
        assert figure.floor is not None
        assert figure.seconds > 0
    assert every["modes/covered-classifier"].value == 10
    assert every["modes/covered-classifier"].note == "of 10"
    assert 5 < every["inception_score-classifier"].value <= 10
    assert every["memorized-pixels"].value == 1  # these are training pictures
    assert every["nearest-pixels"].value == 0
    better = {name.partition("-")[0]: figure.better for name, figure in every.items()}
    assert better["frechet"] == better["kernel"] == better["memorized"] == "lower"
    assert better["recall"] == better["coverage"] == better["inception_score"] == "higher"


def test_without_resamples_there_are_no_intervals(judged_by) -> None:
    reference = judged_by("pixels", 100)
    assert all(f.interval is None for f in figures(reference, NOISE[:100], "frechet", resamples=0).values())


def test_too_few_samples_are_told(judged_by) -> None:
    few = figures(judged_by("random", 60), NOISE[:60], "frechet", "kernel", "memorization")
    assert few["frechet-random"].note == f"{TOO_FEW_SAMPLES}: a covariance of 128 features needs at least 256"
    assert few["kernel-random"].note == f"{TOO_FEW_SAMPLES}: at least 100"
    assert few["memorized-pixels"].note == f"{TOO_FEW_SAMPLES}: at least 100"
    enough = figures(judged_by("random", 256), NOISE[:256], "frechet", "kernel")
    assert {figure.note for figure in enough.values()} == {""}


def test_floors_are_worked_out_once(judged_by, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = judged_by("random", 100)
    first = figures(reference, NOISE[:100], "precision_recall")
    again = judged_by("random", 100)
    assert again.floors["recall-random"] == first["recall-random"].floor
    again.floors["recall-random"] = 0.125
    assert figures(again, NOISE[:100], "precision_recall")["recall-random"].floor == 0.125


def test_figures_of_pairs_take_so_many_samples_and_say_so(judged_by, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        compute,
        "METRIC_FAMILIES",
        tuple(family._replace(max_samples=80) for family in compute.METRIC_FAMILIES[1:3]),
    )
    found = figures(judged_by("pixels", 100), NOISE[:100], "kernel", "precision_recall")
    assert {figure.n for figure in found.values()} == {80}


def test_wide_features_have_fewer_resamples(monkeypatch: pytest.MonkeyPatch, judged_by) -> None:
    seen: list[int] = []
    original = compute.frechet_distances
    monkeypatch.setattr(compute, "frechet_distances", lambda *a: (seen.append(len(a[2])), original(*a))[1])
    monkeypatch.setattr(compute, "WIDE", 100)
    figures(judged_by("random", 300), NOISE[:300], "frechet", resamples=50)
    assert seen == [21, 1]


def test_progress_is_told(judged_by) -> None:
    progress: list[str] = []
    evaluate_samples(
        judged_by("pixels", 100),
        NOISE[:100],
        ["kernel", "memorization"],
        progress=lambda what, *_: progress.append(what),
    )
    assert list(dict.fromkeys(progress)) == ["features", "metrics", "comparing with training images"]


# --- points ------------------------------------------------------------------------------------------------------


def points(*overrides: str, n: int = 500) -> Reference:
    config = compose(*overrides)
    data = find_real_data(config.dataset, config.image_size, build_dataset(config.dataset, config.image_size))
    return build_reference(data, feature_extractors.build_point_extractor(), n)


def test_points_are_compared_by_their_coordinates_and_their_modes(here: Path) -> None:
    reference = points("experiment=ring")
    assert available_metrics(reference) == ("frechet", "kernel", "precision_recall", "density_coverage", "modes")
    half = reference.data.train.samples[reference.data.train.labels < 4][:500]
    found = figures(reference, half, "frechet", "modes")
    assert list(found) == ["frechet-points", "modes/covered", "modes/reverse_kl", "modes/share"]
    assert (found["modes/covered"].value, found["modes/covered"].floor) == (4, 8)
    assert found["modes/covered"].note == "of 8"
    assert found["frechet-points"].value > 20 * (found["frechet-points"].floor or 0)
    assert found["modes/share"].value == pytest.approx(found["modes/share"].floor, abs=0.03)


def test_a_roll_has_no_modes(here: Path) -> None:
    assert "modes" not in available_metrics(points("experiment=swiss_roll"))


@pytest.mark.parametrize(
    ("extractor", "metric", "why"),
    [
        ("random", "inception_score", "needs images of one class each with extractor=classifier"),
        ("pixels", "modes", "needs points whose modes are known, or images"),
    ],
)
def test_what_the_data_do_not_allow_is_refused(judged_by, extractor: str, metric: str, why: str) -> None:
    reference = judged_by(extractor, 50)
    assert metric not in available_metrics(reference)
    with pytest.raises(UsageError, match=rf"metrics=\[{metric}\]: {why}"):
        evaluate_samples(reference, NOISE[:50], [metric])


def test_points_are_not_memorized(here: Path) -> None:
    with pytest.raises(UsageError, match=r"metrics=\[memorization\]: needs images, these data are points"):
        evaluate_samples(points("experiment=ring", n=50), torch.zeros(50, 2), ["memorization"])


def test_several_attributes_have_no_single_class(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    knows = classifier.Classifier(classifier._build_network(1, 5, classifier.ClassifierDesign()).eval(), 0.9)
    monkeypatch.setattr(classifier, "load_or_train_classifier", lambda *data: knows)
    labels = torch.stack([torch.arange(60) % 2, 2 + torch.arange(60) % 3], 1)
    data = Dataset(NOISE[:60], "two attributes", labels, ("a=x", "a=y", "b=1", "b=2", "b=3"))
    real = RealData(data, data)
    found = build_reference(real, build_extractor("auto", real), 20)
    assert found.extractor.name == "classifier"
    assert not {"modes", "inception_score"} & set(available_metrics(found))
    guesses = dataclasses.replace(knows, accuracy=0.3)
    monkeypatch.setattr(classifier, "load_or_train_classifier", lambda *data: guesses)
    with pytest.raises(UsageError, match=r"extractor=classifier, or .*; classifier: accuracy 30.0% .* guessing"):
        check_metrics(build_reference(real, build_extractor("classifier", real), 20), ["inception_score"])
