"""Whether a classifier is better than guessing, by its accuracy on labelled images that it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Binomial, Normal

from gan_cli.data.labels import Attribute
from gan_cli.errors import count_noun, format_number

MIN_GAIN = 0.02  # part of the way from chance level to 100 % that the accuracy must exceed, whatever the sample size
SIGNIFICANCE_LEVEL = 0.05  # of the binomial test against chance


def assess_classifier(accuracy: float, labels: Tensor, attributes: Sequence[Attribute]) -> tuple[bool, str]:
    """Returns whether a classifier with this accuracy on the last tenth of the data is at chance level, and a text."""
    chance, tested = majority_class_accuracy(labels, attributes), max(1, len(labels) // 10)
    text = f"classifier: accuracy {accuracy:.1%} on the tenth of the data that it was not trained on"
    if not is_at_chance(accuracy, tested, chance):
        return False, text
    text += f" ({count_noun(tested, 'sample')})"
    if accuracy <= chance + MIN_GAIN * (1 - chance):
        return True, f"{text}, no better than guessing ({chance:.1%})"
    needed = format_number(10 * samples_for_significance(accuracy, chance))
    return True, f"{text}, too few to tell it from guessing ({chance:.1%}), which takes about {needed} labelled images"


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
    return _guessing_probability(accuracy, tested, chance) > SIGNIFICANCE_LEVEL


def samples_for_significance(accuracy: float, chance: float) -> int:
    """Returns the number of samples at which the binomial test tells this accuracy from the lower accuracy `chance`.

    The search begins at the number by the normal approximation of the test.
    """
    quantile = Normal(0.0, 1.0).icdf(torch.tensor(1 - SIGNIFICANCE_LEVEL)).item()
    count = max(1, math.floor((quantile / (accuracy - chance)) ** 2 * chance * (1 - chance)))
    while _guessing_probability(accuracy, count, chance) > SIGNIFICANCE_LEVEL:
        count += 1
    return count


def _guessing_probability(accuracy: float, tested: int, chance: float) -> float:
    """Returns the probability that guesses, right with probability `chance`, reach this accuracy on these samples."""
    guesses = Binomial(tested, torch.tensor(chance, dtype=torch.float64))
    at_least_as_many = torch.arange(round(accuracy * tested), tested + 1, dtype=torch.float64)
    return guesses.log_prob(at_least_as_many).exp().sum().item()
