"""The exponential moving average of the generator, by which samples are generated."""

from __future__ import annotations

from typing import NamedTuple
from weakref import ReferenceType, WeakKeyDictionary, ref

import torch
from torch import Tensor, nn

STATISTICS = ("running_mean", "running_var")  # of batch norm: they belong to the weights and are averaged like them


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float, step: int | None) -> None:
    """Moves `average` towards `network`: parameters and batch-norm statistics are averaged, other buffers copied.

    The decay grows as (1 + step) / (10 + step) at first, so that the average forgets the random initialization. With
    step None it does not: for weights that were trained before. The singular vectors of spectral normalization are
    copied, since an average of unit vectors is shorter than 1.
    """
    weight = 1 - (decay if step is None else min(decay, (1 + step) / (10 + step)))
    pairs = _pairs(average, network)
    torch._foreach_lerp_(pairs.averages, pairs.targets, weight)
    for mine, other in pairs.copied:
        mine.copy_(other)


class _Pairs(NamedTuple):
    averages: list[Tensor]
    targets: list[Tensor]  # towards which each of the averages moves
    copied: list[tuple[Tensor, Tensor]]


_known: WeakKeyDictionary[nn.Module, tuple[ReferenceType[nn.Module], _Pairs]] = WeakKeyDictionary()


def _pairs(average: nn.Module, network: nn.Module) -> _Pairs:
    """Returns the tensors that belong together; found once, since a network keeps its tensors."""
    if average not in _known or _known[average][0]() is not network:
        _known[average] = ref(network), _paired(average, network)
    return _known[average][1]


def _paired(average: nn.Module, network: nn.Module) -> _Pairs:
    buffers = dict(network.named_buffers())
    mine = dict(average.named_buffers())
    averaged = [(tensor, buffers[name]) for name, tensor in mine.items() if name.endswith(STATISTICS)]
    averaged += zip(average.parameters(), network.parameters(), strict=True)
    copied = [(tensor, buffers[name]) for name, tensor in mine.items() if not name.endswith(STATISTICS)]
    return _Pairs([one for one, _ in averaged], [other for _, other in averaged], copied)
