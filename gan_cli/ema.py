"""The averaged generator: smoother than the one that plays the game, and the one that makes the pictures."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Moves `average` towards `network`: parameters and statistics by the average, counters by copy.

    The decay grows as (1 + step) / (10 + step) at first, so that the average forgets the random start. Batch-norm
    statistics are averaged like the weights they belong to; copied, they fit the live weights only.
    """
    weight = 1 - min(decay, (1 + step) / (10 + step))
    targets = [*average.parameters(), *average.buffers()]
    sources = [*network.parameters(), *network.buffers()]
    floating = [(mine, other) for mine, other in zip(targets, sources, strict=True) if mine.is_floating_point()]
    torch._foreach_lerp_([mine for mine, _ in floating], [other for _, other in floating], weight)
    for mine, other in zip(targets, sources, strict=True):
        if not mine.is_floating_point():
            mine.copy_(other)
