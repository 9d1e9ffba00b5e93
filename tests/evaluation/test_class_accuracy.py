"""Class accuracy: shares of samples that show what was requested, by a classifier whose answers are known."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from gan_cli.data.dataset import Dataset
from gan_cli.data.labels import attributes_of
from gan_cli.errors import UsageError
from gan_cli.evaluation.class_accuracy import class_accuracy_results, shares_correct
from gan_cli.evaluation.compute import available_metrics, check_metrics, evaluate_samples
from gan_cli.evaluation.metrics.classifier import LabelledImages, split_of_classifier, train_classifier
from gan_cli.evaluation.metrics.feature_extractors import Extractor, Features, build_classifier_extractor
from gan_cli.evaluation.real_data import RealData
from gan_cli.evaluation.reference import Reference, build_reference
from gan_cli.reports.evaluation_table import describe_not_beaten

CLASSES = ("glasses=no", "glasses=yes", "hair=black", "hair=blonde", "hair=red")
ATTRIBUTES = attributes_of(CLASSES)


def image_of(glasses: int, hair: int) -> Tensor:
    """An image whose first pixel says what the known classifier finds in it."""
    return torch.full((1, 8, 8), 10 * glasses + hair, dtype=torch.uint8)


def known_answers(images: Tensor) -> Features:
    glasses, hair = images[:, 0, 0, 0].long() // 10, images[:, 0, 0, 0].long() % 10
    columns = torch.stack([glasses, 2 + hair], 1)
    return Features(torch.zeros(len(images), 5).scatter_(1, columns, 9.0))


@pytest.fixture
def reference() -> Reference:
    """100 real images; the known classifier is wrong about the hair of a fifth of those that it did not learn from."""
    labels = torch.tensor([[index % 10 == 0, 2 + index % 3] for index in range(100)], dtype=torch.int64)
    images = torch.stack([image_of(int(glasses), int(hair) - 2) for glasses, hair in labels])
    wrong = split_of_classifier(100)[0][:2]
    images[wrong] = torch.stack([image_of(int(labels[at, 0]), (int(labels[at, 1]) - 1) % 3) for at in wrong])
    data = Dataset(images, source="made", labels=labels, classes=CLASSES)
    extractor = Extractor("classifier", "known", known_answers, 0.9, class_logits=lambda features: features)
    real = RealData(data, data)
    reference = build_reference(real, extractor, 50, cached=False)
    return dataclasses.replace(reference, requested=True)


def test_each_attribute_has_its_share_and_the_mean_is_theirs(reference: Reference) -> None:
    """Of 8 samples 6 have the requested glasses; of the 4 whose hair was requested only the one with blonde hair."""
    samples = torch.stack([image_of(index < 6, 1) for index in range(8)])
    labels = torch.zeros(8, 5)
    labels[:, 1] = 1
    labels[torch.arange(4), [3, 2, 2, 4]] = 1
    found = class_accuracy_results(reference, known_answers(samples).features, labels, 0)
    assert {metric.name: metric.value for metric in found} == {
        "class_accuracy-classifier": pytest.approx((6 / 8 + 1 / 3) / 2),
        "class_accuracy/glasses-classifier": 6 / 8,
        "class_accuracy/hair-classifier": pytest.approx((0 + 1 + 0) / 3),
    }
    labels_of_reals = reference.data.train.labels[split_of_classifier(100)[0], 1].tolist()
    right = [0, 0, *[1] * 8]  # see the fixture
    of_hair = sum(
        sum(known for known, other in zip(right, labels_of_reals, strict=True) if other == label)
        / labels_of_reals.count(label)
        for label in {*labels_of_reals}
    ) / len({*labels_of_reals})
    assert {metric.name: metric.floor for metric in found} == {
        "class_accuracy-classifier": pytest.approx((1 + of_hair) / 2),
        "class_accuracy/glasses-classifier": 1.0,
        "class_accuracy/hair-classifier": pytest.approx(of_hair),
    }
    assert [metric.without_network for metric in found] == [pytest.approx((1 + 1 / 3) / 2), 1.0, pytest.approx(1 / 3)]
    assert {(metric.better, metric.n, metric.reals) for metric in found} == {("higher", 8, 10)}
    assert "does not beat one value for all" in describe_not_beaten(found[2])
    assert describe_not_beaten(dataclasses.replace(found[2], value=0.9)) == ""


def test_rare_values_count_as_much_as_frequent_ones() -> None:
    """90 of 100 samples are to have no glasses, and none of them has: half of the two values is right."""
    labels = torch.zeros(100, 5)
    labels[:90, 0] = labels[90:, 1] = 1
    nothing = torch.tensor([[1.0, 0, 0, 0, 0]]).expand(100, -1)
    masks = torch.ones(2, 100, dtype=torch.bool)
    masks[1, 90:] = False  # a half without a rare value
    assert shares_correct(nothing, labels, ATTRIBUTES[:1], masks).squeeze(1).tolist() == [0.5, 1.0]


def test_an_attribute_that_is_never_known_is_left_out() -> None:
    labels = torch.tensor([[1.0, 0, 0, 0, 0]] * 3)
    shares = shares_correct(torch.eye(5)[:3], labels, ATTRIBUTES, torch.ones(1, 3, dtype=torch.bool))[0].tolist()
    assert shares[0] == pytest.approx(2 / 3)  # of equal logits the first is taken
    assert math.isnan(shares[1])


def test_it_is_computed_with_the_other_metrics(reference: Reference) -> None:
    samples = reference.data.train.samples[:50]
    labels = torch.zeros(50, 5)
    labels[:, 0] = labels[:, 2] = 1
    assert "class_accuracy" in available_metrics(reference)
    found, _ = evaluate_samples(reference, samples, ["class_accuracy", "frechet"], resamples=10, labels=labels)
    shares = {metric.name: metric for metric in found}
    glasses = shares["class_accuracy/glasses-classifier"]
    assert glasses.value == pytest.approx(0.9)
    assert glasses.interval is not None
    assert glasses.interval[0] < 0.9 < glasses.interval[1] <= 1


def test_it_needs_requested_classes_and_a_classifier(reference: Reference) -> None:
    other = dataclasses.replace(reference, requested=False)
    for refused in (
        other,
        dataclasses.replace(reference, extractor=dataclasses.replace(reference.extractor, class_logits=None)),
    ):
        assert "class_accuracy" not in available_metrics(refused)
        with pytest.raises(UsageError, match="needs a run with conditioning"):
            check_metrics(refused, ["class_accuracy"])


def test_the_logits_of_an_extractor_are_those_of_its_classifier(reference: Reference) -> None:
    data = reference.data.train
    assert data.labels is not None
    classifier = train_classifier(LabelledImages(data.samples, data.labels, ATTRIBUTES), steps=3)
    extractor = build_classifier_extractor(classifier, one_of=False)
    assert extractor.class_logits is not None
    logits = extractor.class_logits(extractor.extract(data.samples).features)
    assert torch.allclose(logits, classifier.logits(data.samples), atol=1e-6)
    assert not logits.requires_grad
