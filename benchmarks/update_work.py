"""Counts what a step of a run computes and sends, on networks without values (PyTorch's device `meta`).

Counted are real updates, with the penalties that are due in them: operations of matrix products and convolutions in the
passes forward and backward, also the second derivatives of penalties, by PyTorch's formulas
(`torch.utils.flop_counter`), and each transfer between processes. Not counted are elementwise operations,
normalization, resampling, optimizers and averages; they take time too.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import torch.distributed as dist
import updates
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from gan_cli.distributed import collectives
from gan_cli.distributed.batch_share import Share
from gan_cli.models.build_networks import count_parameters

META = torch.device("meta")
COUNTED = ((2, 4), (2, 8), (4, 4), (4, 8))  # processes, and images of each
PENALTIES = ("regularizer=none", "auxiliary=none")  # without them


class Transfer(NamedTuple):
    """A transfer between processes: the bytes of the tensor that each process gives."""

    kind: str  # "all_reduce" or "all_gather"
    bytes: float


class Counted(NamedTuple):
    """A step: operations in all, kernels, and the transfers in their order."""

    flops: float
    kernels: int
    transfers: list[Transfer]


class Work(NamedTuple):
    """What a step takes on average over the updates with and without lazy penalties."""

    parameters: tuple[int, int]  # of G and D
    flops: float  # for each real image, without penalties
    penalty_flops: float  # for each real image; penalties and their passes through D are in float32
    kernels: float  # operations on the device that are no views
    steps: int  # of a cycle
    counted: dict[tuple[int, int], list[Transfer]]  # the transfers of a cycle, by processes and images of each

    @property
    def gradient_bytes(self) -> int:
        """Float32 gradients of both networks, each averaged once in a step with one update of D."""
        return 4 * sum(self.parameters)

    def transfers(self, processes: int, images: int) -> list[Transfer]:
        """Returns the transfers of a cycle of so many processes with so many images each.

        The size of each is a + b n + c m + d n m for n processes with m images, so those of COUNTED are exact for all.
        """
        if processes == 1:
            return []
        at_n, at_m = (processes - 2) / 2, (images - 4) / 4
        found = []
        for few, wide, many, both in zip(*(self.counted[each] for each in COUNTED), strict=True):
            narrow = few.bytes + at_n * (many.bytes - few.bytes)
            broad = wide.bytes + at_n * (both.bytes - wide.bytes)
            found.append(Transfer(few.kind, narrow + at_m * (broad - narrow)))
        return found


class Operations(TorchDispatchMode):
    """Counts, while entered, operations of products and convolutions, and kernels: all on `meta` that are no views.

    `FlopCounterMode` uses the same formulas, but its hooks on modules refuse `torch.autograd.grad` within a network.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.kernels = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if (formula := flop_registry.get(func.overloadpacket)) is not None:
            self.flops += formula(*args, **kwargs, out_val=result)
        computed = any(isinstance(each, Tensor) and each.device == META for each in tree_leaves(result))
        self.kernels += computed and not func.is_view
        return result


@contextlib.contextmanager
def recorded_transfers() -> Iterator[list[Transfer]]:
    """While entered, transfers are recorded and not made: each process keeps its own values."""
    found: list[Transfer] = []

    def record(call: Any, *arguments: Any, **_: Any) -> None:
        kind = {dist.all_reduce: "all_reduce", dist.all_gather: "all_gather"}[call]
        tensor = arguments[-1]
        found.append(Transfer(kind, tensor.numel() * tensor.element_size()))

    with patch.object(collectives, "connected", record):
        yield found


@contextlib.contextmanager
def _without_autocast() -> Iterator[None]:
    """`meta` has no autocast. Numbers of operations are the same in each precision."""
    with (
        patch.object(torch, "autocast", lambda *arguments, **keywords: contextlib.nullcontext()),
        patch.object(torch, "is_autocast_enabled", lambda kind=None: False),
    ):
        yield


def count_steps(overrides: Sequence[str], processes: int, batch: int, steps: Sequence[int]) -> list[Counted]:
    """Counts the steps of these numbers, of one of so many processes that have `batch` images of every batch each."""
    config = updates.config_of(updates.replaced(overrides, "precision=fp32", f"batch_size={batch * processes}"))
    share = Share(None, 0, processes) if processes > 1 else None
    run = updates.prepared(config, META, share)
    step, counted = updates.step_of(run), []
    for number in steps:
        run.state.counters.step, run.state.counters.d_updates = number, number * config.training.n_critic
        with _without_autocast(), recorded_transfers() as transfers, Operations() as operations:
            step()
        counted.append(Counted(operations.flops, operations.kernels, transfers))
    return counted


def cycle_of(overrides: Sequence[str]) -> list[list[int]]:
    """Returns the steps after which penalties are due again, in groups of those with the same penalties."""
    objective = updates.prepared(updates.config_of(updates.replaced(overrides, "precision=fp32")), META).objective
    intervals = [each.interval for each in (*objective.penalties, *objective.auxiliary)]
    groups: dict[tuple[bool, ...], list[int]] = {}
    for step in range(math.lcm(*intervals, 1)):
        groups.setdefault(tuple(step % interval == 0 for interval in intervals), []).append(step)
    return list(groups.values())


def count_work(overrides: Sequence[str], *, several: bool = True) -> Work:
    """Counts the steps of one cycle; with `several`, also what several processes send."""
    groups = cycle_of(overrides)
    first, times = [group[0] for group in groups], [len(group) for group in groups]
    steps = sum(times)
    state = updates.prepared(updates.config_of(updates.replaced(overrides, "precision=fp32")), META).state
    full = count_steps(overrides, 1, 4, first)
    without = [each for each in overrides if not each.startswith(("regularizer", "auxiliary"))]
    plain = count_steps([*without, *PENALTIES], 1, 4, [0])[0].flops / 4
    counted = {
        counts: [
            transfer
            for step, count in zip(count_steps(overrides, *counts, first), times, strict=True)
            for transfer in step.transfers * count
        ]
        for counts in (COUNTED if several else ())
    }
    whole = sum(step.flops * count for step, count in zip(full, times, strict=True)) / steps / 4
    return Work(
        parameters=(count_parameters(state.generator), count_parameters(state.discriminator)),
        flops=plain,
        penalty_flops=max(whole - plain, 0.0),
        kernels=sum(step.kernels * count for step, count in zip(full, times, strict=True)) / steps,
        steps=steps,
        counted=counted,
    )
