"""The Inception score, from the class probabilities that a classifier gives to samples."""

from __future__ import annotations

import torch
from torch import Tensor


def inception_scores(probabilities: Tensor, masks: Tensor) -> Tensor:
    """exp of the mean KL(p(class | sample) || p(class)) of probabilities `[N, K]` (1606.03498), from 1 to K.

    Returns `[R]` scores: one for each subset of the samples that a row of `masks`, bool `[R, N]`, selects. A score is
    high if each sample has a clear class and the classes vary. Computed of a subset as a whole; papers that average ten
    parts get a slightly lower score.
    """
    known = probabilities.double()
    weights = masks.double() / masks.sum(1, keepdim=True)
    marginal = weights @ known
    return (_entropy(marginal) - weights @ _entropy(known)).exp()


def _entropy(probabilities: Tensor) -> Tensor:
    return -torch.special.xlogy(probabilities, probabilities).sum(-1)
