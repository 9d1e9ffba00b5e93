"""The share of samples that show what was requested of them, by a classifier, for each attribute and on average.

Jin et al. (1708.05509) call it precision; theirs was found by looking at samples. The classifier learned from real
images and never saw a sample. Its accuracy on real images that it did not learn from is the floor: what a perfect
generator would reach.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gan_cli.data.labels import Attribute, attributes_of, encode_labels
from gan_cli.errors import one_line
from gan_cli.evaluation.metrics.classifier import split_of_classifier
from gan_cli.evaluation.metrics.feature_extractors import SampleSubset
from gan_cli.evaluation.metrics.resampling import confidence_interval, half_masks
from gan_cli.evaluation.reference import Reference
from gan_cli.storage.evaluation_file import MetricResult

NAME = "class_accuracy"
GUESS = "one value for all"  # the best answer without a network, right for one of the requested values
MOST_ATTRIBUTES = 40  # that get a value of their own
MOST_REALS = 5000  # real images on which the classifier is tested


def class_accuracy_results(
    reference: Reference, features: Tensor, labels: Tensor, resamples: int
) -> list[MetricResult]:
    """Returns the mean over the attributes, then the value of each of the first MOST_ATTRIBUTES, if there are several.

    `features` are those of the samples, `[N, F]`, and `labels` what was requested, `[N, K]`. Samples whose label of an
    attribute is not known do not count for it. Intervals come from `resamples` halves.
    """
    started, attributes = time.perf_counter(), attributes_of(reference.data.train_unlimited.classes)
    classify = reference.extractor.class_logits
    assert classify is not None
    values = shares_correct(classify(features), labels, attributes, half_masks(len(labels), resamples))
    reals, of_reals = _real_images(reference)
    floors = shares_correct(classify(reals), of_reals, attributes, half_masks(len(of_reals), 0))[0]
    guesses = torch.stack([1 / labels[:, each.columns].any(0).sum().double() for each in attributes])
    known = [index for index in range(len(attributes)) if values[0, index].isfinite()]
    rows = [(NAME, values[:, known].mean(1), floors[known].mean(), guesses[known].mean())]
    if len(attributes) > 1:
        rows += [
            (f"{NAME}/{one_line(attributes[index].name, 50)}", values[:, index], floors[index], guesses[index])
            for index in known[:MOST_ATTRIBUTES]
        ]
    seconds = round((time.perf_counter() - started) / len(rows), 3)
    return [
        MetricResult(
            f"{name}-{reference.extractor.name}",
            shares[0].item(),
            len(labels),
            "higher",
            confidence_interval(shares, 0, 1),
            floor.item() if floor.isfinite() else None,
            seconds,
            reals=len(of_reals),
            without_network=guess.item(),
            method=GUESS,
        )
        for name, shares, floor, guess in rows
    ]


def shares_correct(logits: Tensor, labels: Tensor, attributes: Sequence[Attribute], masks: Tensor) -> Tensor:
    """Returns, for each value of an attribute, the share of the samples with this label that have its largest logit.

    Averaged over the values, `[R, attributes]`, so that rare values count as much as frequent ones. `logits` and
    `labels` are `[N, K]`; each row of `masks` `[R, N]` selects samples. An attribute without known labels gives NaN.
    """
    found, rows = [], masks.double()
    for attribute in attributes:
        target = labels[:, attribute.columns].double()
        predicted = one_hot(logits[:, attribute.columns].argmax(1), attribute.size)
        found.append(((rows @ (target * predicted)) / (rows @ target)).nanmean(1))
    return torch.stack(found, 1)


def _real_images(reference: Reference) -> tuple[Tensor, Tensor]:
    """Returns the features and labels `[N, K]` of real images that the classifier did not learn from."""
    data = reference.data.train_unlimited
    assert data.labels is not None
    index, _ = split_of_classifier(len(data))
    index = index[:MOST_REALS]
    features = reference.extractor.extract(SampleSubset((data.samples,), index)).features
    return features, encode_labels(data.labels[index], len(data.classes))
