"""Whether a classifier knows the classes at all: against exact binomial tests, and where samples are few."""

from __future__ import annotations

import pytest
import torch

from gan_cli.data.labels import attributes_of
from gan_cli.evaluation.metrics import chance_level
from gan_cli.evaluation.metrics.chance_level import (
    assess_classifier,
    is_at_chance,
    majority_class_accuracy,
    samples_for_significance,
)


@pytest.mark.parametrize(
    ("accuracy", "tested", "guess", "expected"),
    [
        (0.333, 12, 0.5, True),  # below guessing
        (0.0, 4, 0.5, True),
        (8 / 12, 12, 0.5, True),  # as one in five that guess
        (10 / 12, 12, 0.5, False),
        (1.0, 2, 0.5, False),  # always right, of however few
        (0.5, 2, 0.5, True),
        (0.12, 100, 0.1, True),
        (0.2, 100, 0.1, False),
        (0.13, 5000, 0.1, False),
        (0.11, 100_000, 0.1, True),  # no chance, but of no use
        (0.9, 1000, 0.9, True),  # the most frequent class, always
        (0.93, 1000, 0.9, False),
        (1.0, 50, 1.0, True),  # there is one class
    ],
)
def test_at_chance(accuracy: float, tested: int, guess: float, expected: bool) -> None:
    assert is_at_chance(accuracy, tested, guess) == expected


def test_one_that_guesses_passes_as_seldom_as_is_said() -> None:
    from scipy import stats  # takes a second to import

    right = stats.binom(200, 0.25).rvs(4000, random_state=0)
    assert sum(not is_at_chance(each / 200, 200, 0.25) for each in right) / 4000 < chance_level.SIGNIFICANCE_LEVEL


def test_guessing_is_to_name_the_most_frequent_class() -> None:
    assert majority_class_accuracy(torch.tensor([0, 0, 0, 1]), attributes_of(["a", "b"])) == 0.75
    assert majority_class_accuracy(torch.tensor([1]), attributes_of(["a", "b"])) == 1
    assert majority_class_accuracy(torch.tensor([-1, -1]), attributes_of(["a", "b"])) == 0
    several = attributes_of(["hair=red", "hair=black", "hat=no", "hat=yes"])
    labels = torch.tensor([[0, 2], [1, 2], [1, 3], [-1, 2]])
    assert majority_class_accuracy(labels, several) == pytest.approx(5 / 7)


def test_what_is_said() -> None:
    labels = torch.tensor([0, 1] * 60)
    known = assess_classifier(0.9, labels, attributes_of(["a", "b"]))
    assert known == (False, "classifier: accuracy 90.0% on the tenth of the data that it was not trained on")
    at_chance, summary = assess_classifier(4 / 12, labels, attributes_of(["a", "b"]))
    assert at_chance
    assert summary.endswith(
        "accuracy 33.3% on the tenth of the data that it was not trained on (12 samples),"
        " no better than guessing (50.0%)"
    )
    at_chance, summary = assess_classifier(8 / 12, labels, attributes_of(["a", "b"]))
    assert at_chance
    assert summary.endswith(
        "accuracy 66.7% on the tenth of the data that it was not trained on (12 samples),"
        " too few to tell it from guessing (50.0%), which takes about 280 labelled images"
    )


@pytest.mark.parametrize(("accuracy", "guess"), [(2 / 3, 0.5), (0.2, 0.1), (0.13, 0.1), (0.55, 0.5), (0.94, 0.9)])
def test_so_many_samples_tell_an_accuracy_from_guessing(accuracy: float, guess: float) -> None:
    """By scipy's exact test: at this number it is significant, and at three quarters of it it is not."""
    from scipy import stats

    count = samples_for_significance(accuracy, guess)
    for number, expected in ((count, True), (3 * count // 4, False)):
        test = stats.binomtest(round(accuracy * number), number, guess, alternative="greater")
        assert (test.pvalue <= chance_level.SIGNIFICANCE_LEVEL) == expected
        assert is_at_chance(accuracy, number, guess) != expected
