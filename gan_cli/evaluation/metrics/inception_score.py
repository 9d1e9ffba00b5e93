"""The Inception score, from the class probabilities that a classifier gives to samples."""

from __future__ import annotations

import torch
from torch import Tensor


def inception_score(probabilities: Tensor) -> float:
    """exp of the mean KL(p(class | sample) || p(class)) of probabilities `[N, K]` (1606.03498), from 1 to K.

    High if each sample has a clear class and the classes vary. Computed of all samples together; papers that average
    ten parts get a slightly lower score.
    """
    return inception_scores(probabilities, torch.ones(1, len(probabilities), dtype=torch.bool)).item()


def inception_scores(probabilities: Tensor, masks: Tensor) -> Tensor:
    """The scores `[R]` of R subsets of the samples, one for each row of `masks`, bool `[R, N]`."""
    known = probabilities.double()
    weights = masks.double() / masks.sum(1, keepdim=True)
    marginal = weights @ known
    return (_entropy(marginal) - weights @ _entropy(known)).exp()


def _entropy(probabilities: Tensor) -> Tensor:
    return -torch.special.xlogy(probabilities, probabilities).sum(-1)
