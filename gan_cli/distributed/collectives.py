"""Means over processes and batches gathered from them, both differentiable as often as needed.

A loss is the mean over the processes of their losses, so the gradient of a value that several processes use is the sum
of the gradients that they compute. Each function must be called by all processes, in the same order.

Without a share of the batch in use (`batch_share.py`), the functions return what they get.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gan_cli.distributed.batch_share import Share, current_share
from gan_cli.errors import LostProcessError


def connected(call: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Calls a function of `torch.distributed`. Raises LostProcessError if a process ended or did not answer."""
    try:
        return call(*arguments, **keywords)
    except RuntimeError as error:
        raise LostProcessError("another process of this run ended, or did not answer in device.timeout") from error


def _summed(tensor: Tensor, share: Share) -> Tensor:
    """Returns the sum over the processes; of half precision, in float32 until it is rounded once."""
    total = tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32), copy=True).contiguous()
    connected(dist.all_reduce, total, group=share.group)
    return total.to(tensor.dtype)


def _stacked(tensor: Tensor, share: Share) -> Tensor:
    """Returns the tensors of all processes, `[count, ...]`."""
    parts = torch.empty(share.count, *tensor.shape, dtype=tensor.dtype, device=tensor.device)
    connected(dist.all_gather, list(parts.unbind()), tensor.detach().contiguous(), group=share.group)
    return parts


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, share: Share) -> Tensor:
        ctx.share = share
        return _summed(tensor, share) / share.count

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Mean.apply(gradient, ctx.share), None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, share: Share) -> Tensor:
        ctx.share = share
        return _stacked(tensor, share)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _SumOfOwn.apply(gradient, ctx.share), None


class _SumOfOwn(torch.autograd.Function):
    """The sum over the processes of the part of `[count, ...]` that is of this process: the opposite of _Gather."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, share: Share) -> Tensor:
        ctx.share = share
        return _summed(tensor, share)[share.index].clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Gather.apply(gradient, ctx.share), None


def mean_over_processes(tensor: Tensor) -> Tensor:
    """Returns the mean over the processes of a tensor that each of them has, differentiable."""
    share = current_share()
    return tensor if share is None else _Mean.apply(tensor, share)


def means_over_processes(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Returns the mean over the processes of each tensor, differentiable, with one transfer for each dtype."""
    share = current_share()
    if share is None:
        return list(tensors)
    means: list[Tensor] = list(tensors)
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        numbers = [number for number, tensor in enumerate(tensors) if tensor.dtype == dtype]
        flat = _Mean.apply(torch.cat([tensors[number].reshape(-1) for number in numbers]), share)
        parts = flat.split([tensors[number].numel() for number in numbers])
        for number, part in zip(numbers, parts, strict=True):
            means[number] = part.view(tensors[number].shape)
    return means


def gathered(batch: Tensor) -> Tensor:
    """Returns the whole batch, of which each process has its share along the first dimension, differentiable."""
    share = current_share()
    if share is None:
        return batch
    stacked = _Gather.apply(batch, share).unflatten(1, (share.sections, -1))
    return stacked.transpose(0, 1).flatten(0, 2)


def stacked_over_processes(tensor: Tensor) -> Tensor:
    """Returns the tensors of all processes as `[processes, ...]`, differentiable."""
    share = current_share()
    return tensor[None] if share is None else _Gather.apply(tensor, share)


@torch.no_grad()
def average_gradients(network: nn.Module) -> None:
    """Replaces the gradient of each parameter by the mean over the processes, with one transfer for each dtype.

    Half precision is added up in float32 and rounded once. The gradients of a dtype become parts of one tensor, in the
    order of their elements in memory, which is the same in all processes.
    """
    share = current_share()
    if share is None:
        return
    parameters = [parameter for parameter in network.parameters() if parameter.grad is not None]
    for dtype in dict.fromkeys(parameter.dtype for parameter in parameters):
        same = [parameter for parameter in parameters if parameter.dtype == dtype]
        wide = torch.promote_types(dtype, torch.float32)
        flat = torch.empty(sum(each.numel() for each in same), dtype=wide, device=same[0].device)
        sizes = [each.numel() for each in same]
        parts = [
            part.as_strided(each.shape, torch.empty_like(each, device="meta").stride())
            for part, each in zip(flat.split(sizes), same, strict=True)
        ]
        torch._foreach_copy_(parts, [each.grad for each in same if each.grad is not None])
        connected(dist.all_reduce, flat, group=share.group)
        flat.div_(share.count)
        for parameter, part in zip(same, parts, strict=True):
            parameter.grad = part.to(dtype)


def merged_outputs(outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the outputs of an update for the whole batch: the means of scalars, and all logits, `[N, ...]`.

    Each process has detached float32 outputs with the same names and shapes. One transfer is made for all of them. The
    logits are in the order of the processes.
    """
    share = current_share()
    if share is None:
        return outputs
    sizes = [value.numel() for value in outputs.values()]
    parts = _stacked(torch.cat([value.reshape(-1) for value in outputs.values()]), share).split(sizes, 1)
    merged = {}
    for (name, value), part in zip(outputs.items(), parts, strict=True):
        merged[name] = part.mean() if value.ndim == 0 else part.reshape(-1, *value.shape[1:])
    return merged


def is_same_on_all(group: Any, values: Iterable[int]) -> list[bool]:
    """Returns for each whole number whether all processes of a group of `torch.distributed` have the same."""
    mine = torch.tensor(list(values), dtype=torch.int64)
    least, most = mine.clone(), mine.clone()
    connected(dist.all_reduce, least, op=dist.ReduceOp.MIN, group=group)
    connected(dist.all_reduce, most, op=dist.ReduceOp.MAX, group=group)
    return (least == most).tolist()
