"""The training state of several processes: process 0 gives it to the others, and all compare theirs."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from gan_cli.config.train_config import Config
from gan_cli.distributed.batch_norm import share_statistics
from gan_cli.distributed.process_group import LOAD, ProcessGroup
from gan_cli.errors import DivergedError
from gan_cli.state.ema import STATISTICS
from gan_cli.state.train_state import Counters, TrainState, build_state, load_state_tensors, state_tensors


def give_state(state: TrainState, group: ProcessGroup) -> None:
    """Process 0: gives the state to all other processes, which call `receive_state`. Alone, it does nothing."""
    if group.count == 1:
        return
    _share_statistics(state)
    tensors = {name: tensor.detach().to(state.device).contiguous() for name, tensor in state_tensors(state).items()}
    layout = {name: [str(tensor.dtype).removeprefix("torch."), *tensor.shape] for name, tensor in tensors.items()}
    group.send_text(LOAD, {"counters": dataclasses.asdict(state.counters), "layout": layout})
    group.broadcast([*tensors.values()])


def receive_state(content: Any, config: Config, device: torch.device, group: ProcessGroup) -> TrainState:
    """Other processes: returns the state that process 0 gives. `content` came with the command LOAD."""
    state = build_state(config, device)
    _share_statistics(state)
    tensors: dict[str, Tensor] = {
        name: torch.empty(shape, dtype=getattr(torch, dtype), device=device)
        for name, (dtype, *shape) in content["layout"].items()
    }
    group.broadcast([*tensors.values()])
    load_state_tensors(state, tensors)
    state.counters = Counters(**content["counters"])
    return state


def _share_statistics(state: TrainState) -> None:
    for network in (state.generator, state.discriminator):
        share_statistics(network)


def require_equal_states(state: TrainState, group: ProcessGroup) -> None:
    """Raises DivergedError if the state of another process is not equal. All processes must call it."""
    sums = checksums(state) if group.count > 1 else {}
    same = group.same_on_all([*sums.values()])
    different = [name for name, equal in zip(sums, same, strict=True) if not equal]
    if different:
        raise DivergedError(
            f"the processes do not agree on {different[0]} at step {state.counters.step:,}: their machines, their"
            " packages or a GPU may differ or be faulty; the last good checkpoint is kept"
        )


def checksums(state: TrainState) -> dict[str, int]:
    """Returns a whole number for each tensor of the state that differs if the tensor differs in one value.

    Left out are the statistics of batch normalization, since each process may have its own.
    """
    sums = {
        name: tensor.detach().float().contiguous().view(torch.int32).sum(dtype=torch.int64)
        for name, tensor in state_tensors(state).items()
        if not name.endswith(STATISTICS)
    }
    return dict(zip(sums, torch.stack([each.cpu() for each in sums.values()]).tolist(), strict=True))
