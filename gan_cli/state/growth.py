"""Growth of networks in the course of a run (1710.10196): a function of the counters, and the reset of optimizers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gan_cli.models.growing import GrowingNetwork
from gan_cli.state.train_state import Counters, TrainState


def growth_at(progress: float, levels: int) -> float:
    """Returns the growth, from 0 to `levels`, at the share `progress` of a run.

    The shares of the levels + 1 resolutions are as 1 to 2 to 3 ..., the coarsest first. In the first half of its share
    a level fades in, in the second half it is steady; the coarsest one is steady only.
    """
    parts = progress * (levels + 1) * (levels + 2) / 2
    level = next(level for level in range(levels, -1, -1) if level * (level + 1) / 2 <= parts)
    if level == 0:
        return 0.0
    return level - 1 + min(2 * (parts - level * (level + 1) / 2) / (level + 1), 1.0)


def advance(counters: Counters) -> None:
    """Updates the progress of growth after a step, which `counters.step` already counts.

    With a fixed number of steps n the progress is step / n. If the expected number of steps changes, as with a time
    budget, what is left of the growth is divided by the steps that are left, so that it neither jumps nor goes back and
    follows the time that is spent. It stays 0 while a budget is measured.
    """
    if counters.total_steps is None:
        return
    done, left = counters.growth_progress, counters.total_steps - counters.step + 1  # before this step
    if done == 0:
        counters.growth_progress = min(counters.step / counters.total_steps, 1.0)
    else:
        counters.growth_progress = min(done + (1 - done) / left, 1.0) if left > 1 else 1.0


def growing_networks(state: TrainState) -> list[GrowingNetwork]:
    """Returns the networks that grow, among them the averaged generator."""
    networks = (state.generator, state.discriminator, state.generator_ema)
    return [network for network in networks if isinstance(network, GrowingNetwork) and network.grows]


def grow(state: TrainState) -> None:
    """Sets the growth of all networks that grow after a step. At each new level, resets the moments of optimizers."""
    networks = growing_networks(state)
    if not networks:
        return
    advance(state.counters)
    before = networks[0].level
    _set_growth(networks, state.counters.growth_progress)
    if networks[0].level > before:
        for optimizer in (state.generator_optimizer, state.discriminator_optimizer):
            reset_moments(optimizer)


def set_progress(state: TrainState, progress: float) -> None:
    """Lets the networks that grow go on from this share of their growth; 1 makes them fully grown."""
    if networks := growing_networks(state):
        state.counters.growth_progress = progress
        _set_growth(networks, progress)


def growth_of(state: TrainState) -> float | None:
    """Returns the growth of the networks, None if they do not grow."""
    networks = growing_networks(state)
    return growth_at(state.counters.growth_progress, networks[0].levels) if networks else None


def describe_growth(state: TrainState) -> str:
    """Returns a line about networks that go on to another end of the run; an empty text if they do not grow."""
    if (growth := growth_of(state)) is None:
        return ""
    levels = growing_networks(state)[0].levels
    if growth == levels:
        return f"the networks are fully grown, through all {levels} levels, and stay so"
    return f"the networks are at growth {growth:.2f} of {levels}; the rest is spread over the steps up to the new end"


def _set_growth(networks: list[GrowingNetwork], progress: float) -> None:
    for network in networks:
        network.set_growth(growth_at(progress, network.levels))


def faded(state: TrainState, real: Tensor) -> Tensor:
    """Returns real samples with the detail that fakes have at this growth, and unchanged without growth."""
    generator = state.generator
    return generator.fade(real) if isinstance(generator, GrowingNetwork) else real


@torch.no_grad()
def reset_moments(optimizer: Optimizer) -> None:
    """Sets an optimizer's state to that before its first step: all moments and counts to 0."""
    for slots in optimizer.state.values():
        for value in slots.values():
            if value is not None:
                value.zero_()


def complete_moments(network: nn.Module, optimizer: Optimizer) -> None:
    """Gives trainable parameters that were in no update yet a state of zeros, from which an update starts the same.

    So a checkpoint has the same tensors whichever levels of a network are in use.
    """
    if not isinstance(network, GrowingNetwork) or not optimizer.state:
        return
    missing = [each for each in network.parameters() if each.requires_grad and each not in optimizer.state]
    if missing:
        for slot, example in next(iter(optimizer.state.values())).items():
            for parameter in missing:
                count = slot == "step" or example is None
                like = example if count else parameter.detach()
                optimizer.state[parameter][slot] = None if like is None else torch.zeros_like(like)
