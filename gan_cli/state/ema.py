"""The exponential moving average (EMA) of the generator's weights, which samples are drawn from."""

from __future__ import annotations

from weakref import ReferenceType, WeakKeyDictionary, ref

import torch
from torch import Tensor, nn

STATISTICS = ("running_mean", "running_var")  # of batch normalization, which are averaged like the weights


def early_decay(decay: float, step: int) -> float:
    """Returns the decay after `step` steps, at most (1 + step) / (10 + step), to forget the random initialization."""
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def update_ema(ema: nn.Module, network: nn.Module, decay: float) -> None:
    """Updates parameters and batch-norm statistics: ema = decay * ema + (1 - decay) * network. Copies other buffers.

    The singular vectors of spectral normalization are copied, since an average of unit vectors is shorter than 1.
    """
    weight = 1 - decay
    if ema not in _known or _known[ema][0]() is not network:
        _known[ema] = ref(network), _find_pairs(ema, network)
    averages, targets, copied = _known[ema][1]
    torch._foreach_lerp_(averages, targets, weight)
    for mine, other in copied:
        mine.copy_(other)


_Pairs = tuple[list[Tensor], list[Tensor], list[tuple[Tensor, Tensor]]]
# cached, since networks keep their tensors
_known: WeakKeyDictionary[nn.Module, tuple[ReferenceType[nn.Module], _Pairs]] = WeakKeyDictionary()


def _find_pairs(ema: nn.Module, network: nn.Module) -> _Pairs:
    """Returns the tensors of `ema` that are averaged, those of `network` in the same order, and pairs to copy."""
    averages: list[Tensor] = [*ema.parameters()]
    targets: list[Tensor] = [*network.parameters()]
    copied = []
    for (name, mine), other in zip(ema.named_buffers(), network.buffers(), strict=True):
        if name.endswith(STATISTICS):
            averages.append(mine)
            targets.append(other)
        else:
            copied.append((mine, other))
    return averages, targets, copied
