"""What a classifier's probabilities say of samples."""

from __future__ import annotations

import torch
from torch import Tensor


def inception_score(probabilities: Tensor) -> float:
    """exp of the mean KL(p(class | sample) || p(class)) of `[N, K]` (1606.03498): 1 to K, high if sure and varied.

    Of all samples together; the custom of ten parts scores a little less, as fewer samples know the classes' shares
    less well.
    """
    return inception_scores(probabilities, torch.ones(1, len(probabilities), dtype=torch.bool)).item()


def inception_scores(probabilities: Tensor, chosen: Tensor) -> Tensor:
    """The scores `[R]` of the samples that each row of `chosen`, bool `[R, N]`, has."""
    known = probabilities.double()
    weights = chosen.double() / chosen.sum(1, keepdim=True)
    marginal = weights @ known
    return (_entropy(marginal) - weights @ _entropy(known)).exp()


def _entropy(probabilities: Tensor) -> Tensor:
    return -torch.special.xlogy(probabilities, probabilities).sum(-1)
