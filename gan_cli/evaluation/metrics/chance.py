"""Whether a classifier knows the classes at all, or is as good as guessing: one that guesses must judge nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gan_cli.data.labels import Attribute

MARGIN = 0.02  # of the way from guessing to always right, below which no number of samples helps
LUCK = 0.05  # how probable such an accuracy may be for one that guesses


class Trust(NamedTuple):
    """Whether a classifier must judge nothing, and how good it is, in one line."""

    at_chance: bool
    said: str


def trust(accuracy: float, labels: Tensor, attributes: Sequence[Attribute]) -> Trust:
    """In a classifier of this accuracy, trained on nine tenths of the data with these labels."""
    guess, tested = guessing(labels, attributes), max(1, len(labels) // 10)
    said = f"classifier: right about {accuracy:.1%} of the tenth of the data that it has not seen"
    if not is_at_chance(accuracy, tested, guess):
        return Trust(False, said)
    many = "1 sample" if tested == 1 else f"{tested:,} samples"
    return Trust(True, f"{said} ({many}), no better than guessing ({guess:.1%})")


def guessing(labels: Tensor, attributes: Sequence[Attribute]) -> float:
    """The accuracy of always naming the most frequent class, of each attribute."""
    known = labels[labels >= 0].flatten()
    counts = known.bincount(minlength=sum(attribute.size for attribute in attributes))
    right = sum(int(counts[attribute.columns].max()) for attribute in attributes)
    return right / max(len(known), 1)


def is_at_chance(accuracy: float, tested: int, guess: float) -> bool:
    """Whether this accuracy on `tested` samples is no better than `guess`, as far as so many samples can tell.

    One more than half way from guessing to always right is taken to know, however few samples there are. Any other
    must be beyond what guessing reaches once in 1 / LUCK times (exact binomial test, one-sided).
    """
    if accuracy <= guess + MARGIN * (1 - guess):
        return True
    if accuracy > (1 + guess) / 2:
        return False
    return _at_least(round(accuracy * tested), tested, guess) > LUCK


def _at_least(right: int, tested: int, guess: float) -> float:
    """The probability that of `tested` guesses as many as `right` are right; `guess` is above 0 and below 1."""
    hits = torch.arange(right, tested + 1, dtype=torch.float64)
    ways = math.lgamma(tested + 1) - torch.lgamma(hits + 1) - torch.lgamma(tested - hits + 1)
    return (ways + hits * math.log(guess) + (tested - hits) * math.log1p(-guess)).exp().sum().item()
