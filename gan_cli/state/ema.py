"""The exponential moving average (EMA) of the generator's weights, which samples are drawn from."""

from __future__ import annotations

from typing import NamedTuple
from weakref import ReferenceType, WeakKeyDictionary, ref

import torch
from torch import Tensor, nn

STATISTICS = ("running_mean", "running_var")  # of batch normalization, which are averaged like the weights


@torch.no_grad()
def update_ema(ema: nn.Module, network: nn.Module, decay: float, step: int | None) -> None:
    """Updates parameters and batch-norm statistics: ema = decay * ema + (1 - decay) * network. Copies other buffers.

    The decay is at most (1 + step) / (10 + step), so that the average forgets the random initialization early. If step
    is None, which is for weights that were trained before, the full decay is used from the start. The singular vectors
    of spectral normalization are copied, since an average of unit vectors is shorter than 1.
    """
    weight = 1 - (decay if step is None else min(decay, (1 + step) / (10 + step)))
    if ema not in _known or _known[ema][0]() is not network:
        _known[ema] = ref(network), _find_pairs(ema, network)
    pairs = _known[ema][1]
    torch._foreach_lerp_(pairs.averages, pairs.targets, weight)
    for mine, other in pairs.copied:
        mine.copy_(other)


class _Pairs(NamedTuple):
    averages: list[Tensor]
    targets: list[Tensor]  # the network's tensors, in the same order
    copied: list[tuple[Tensor, Tensor]]  # buffers that are copied: target and source


# cached, since networks keep their tensors
_known: WeakKeyDictionary[nn.Module, tuple[ReferenceType[nn.Module], _Pairs]] = WeakKeyDictionary()


def _find_pairs(ema: nn.Module, network: nn.Module) -> _Pairs:
    """Returns each tensor of `ema` with that of `network`."""
    buffers = dict(network.named_buffers())
    mine = dict(ema.named_buffers())
    averaged = [(tensor, buffers[name]) for name, tensor in mine.items() if name.endswith(STATISTICS)]
    averaged += zip(ema.parameters(), network.parameters(), strict=True)
    copied = [(tensor, buffers[name]) for name, tensor in mine.items() if not name.endswith(STATISTICS)]
    return _Pairs([one for one, _ in averaged], [other for _, other in averaged], copied)
