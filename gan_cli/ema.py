"""The averaged generator: smoother than the one that plays the game, and the one that makes the pictures."""

from __future__ import annotations

import torch
from torch import nn

STATISTICS = ("running_mean", "running_var")  # of batch norm: they belong to the weights and are averaged like them


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float, step: int | None) -> None:
    """Moves `average` towards `network`: parameters and batch-norm statistics by the average, other buffers by copy.

    The decay grows as (1 + step) / (10 + step) at first, so that the average forgets the random start; with step None,
    for a start that is worth keeping, it does not. The singular
    vectors of spectral normalization are copied: an average of unit vectors is shorter than one.
    """
    weight = 1 - (decay if step is None else min(decay, (1 + step) / (10 + step)))
    buffers = dict(network.named_buffers())
    averaged = [(mine, buffers[name]) for name, mine in average.named_buffers() if name.endswith(STATISTICS)]
    averaged += zip(average.parameters(), network.parameters(), strict=True)
    torch._foreach_lerp_([mine for mine, _ in averaged], [other for _, other in averaged], weight)
    for name, mine in average.named_buffers():
        if not name.endswith(STATISTICS):
            mine.copy_(buffers[name])
