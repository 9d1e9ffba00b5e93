"""Loads a classifier and tests whether it is better than chance. One that is not must not evaluate samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gan_cli.data.labels import Attribute
from gan_cli.errors import count_noun
from gan_cli.evaluation.callbacks import LogCallback
from gan_cli.evaluation.metrics.classifier import CLASSIFIER_CACHE, Classifier, load_or_train_classifier

MIN_GAIN = 0.02  # part of the way from chance level to 100 % that the accuracy must exceed, whatever the sample size
SIGNIFICANCE_LEVEL = 0.05  # of the binomial test against chance


class ClassifierAssessment(NamedTuple):
    """Whether the classifier is at chance level (and must not be used), and its accuracy in one line of text."""

    at_chance: bool
    summary: str


def load_assessed_classifier(
    dataset_fingerprint: str,
    samples: Tensor,
    labels: Tensor,
    attributes: Sequence[Attribute],
    log: LogCallback,
    otherwise: str,
) -> tuple[Classifier, ClassifierAssessment]:
    """Loads the classifier of this data set from the user's cache, or trains one, and logs its accuracy.

    If it is at chance level, the logged line ends with `otherwise`, which says what is done without it.
    """
    found = load_or_train_classifier(
        dataset_fingerprint, samples, labels, attributes, CLASSIFIER_CACHE.expanduser(), log
    )
    assessment = assess_classifier(found.accuracy, labels, attributes)
    log(assessment.summary + (f": {otherwise}" if assessment.at_chance else ""))
    return found, assessment


def assess_classifier(accuracy: float, labels: Tensor, attributes: Sequence[Attribute]) -> ClassifierAssessment:
    """Assesses a classifier that was trained on nine tenths of the data and has this accuracy on the last tenth.

    `labels` are those of all the data.
    """
    chance, tested = majority_class_accuracy(labels, attributes), max(1, len(labels) // 10)
    text = f"classifier: accuracy {accuracy:.1%} on the tenth of the data that it was not trained on"
    if not is_at_chance(accuracy, tested, chance):
        return ClassifierAssessment(False, text)
    count = count_noun(tested, "sample")
    return ClassifierAssessment(True, f"{text} ({count}), no better than guessing ({chance:.1%})")


def majority_class_accuracy(labels: Tensor, attributes: Sequence[Attribute]) -> float:
    """The accuracy of always predicting the most frequent class, averaged over the attributes' known labels."""
    known = labels[labels >= 0].flatten()
    counts = known.bincount(minlength=sum(attribute.size for attribute in attributes))
    right = sum(int(counts[attribute.columns].max()) for attribute in attributes)
    return right / max(len(known), 1)


def is_at_chance(accuracy: float, tested: int, chance: float) -> bool:
    """Whether this accuracy on `tested` samples is not significantly better than the accuracy `chance`.

    An accuracy more than half way from chance to 1 always counts as better, however few samples there are. Any other
    accuracy must pass a one-sided exact binomial test at SIGNIFICANCE_LEVEL.
    """
    if accuracy <= chance + MIN_GAIN * (1 - chance):
        return True
    if accuracy > (1 + chance) / 2:
        return False
    return _binomial_tail(round(accuracy * tested), tested, chance) > SIGNIFICANCE_LEVEL


def _binomial_tail(right: int, tested: int, chance: float) -> float:
    """The probability that at least `right` of `tested` guesses are right, each with probability `chance` in (0, 1)."""
    hits = torch.arange(right, tested + 1, dtype=torch.float64)
    ways = math.lgamma(tested + 1) - torch.lgamma(hits + 1) - torch.lgamma(tested - hits + 1)
    return (ways + hits * math.log(chance) + (tested - hits) * math.log1p(-chance)).exp().sum().item()
