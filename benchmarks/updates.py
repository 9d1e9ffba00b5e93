"""The updates of a run without its loop, logs and files: what several benchmarks time or count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from gan_cli.config.compatibility import parse_config
from gan_cli.config.compose import compose_command
from gan_cli.config.overrides import quote_literals
from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Batches
from gan_cli.data.load_dataset import build_batches, build_dataset, with_classes
from gan_cli.distributed.batch_norm import share_statistics
from gan_cli.distributed.batch_share import Share
from gan_cli.state.train_state import TrainState, build_state
from gan_cli.training.objective import Objective, build_objective
from gan_cli.training.steps import training_step


class Prepared(NamedTuple):
    """What `training_step` takes."""

    state: TrainState
    objective: Objective
    batches: Batches


def replaced(overrides: Sequence[str], *others: str) -> list[str]:
    """Returns the overrides with `others`, of which each replaces an override of the same key."""
    named = {other.partition("=")[0] for other in others}
    return [*(each for each in overrides if each.partition("=")[0] not in named), *others]


def config_of(overrides: Sequence[str]) -> Config:
    """Returns the config of `gan-train` with these overrides."""
    return parse_config(compose_command("train", list(map(quote_literals, overrides))).data)


def prepared(config: Config, device: torch.device, share: Share | None = None) -> Prepared:
    """Builds the data, the networks and the state of a run of a million steps, or of one of its processes."""
    dataset = build_dataset(config.dataset, config.image_size)
    config = with_classes(config, dataset)
    state, batches = build_state(config, device), build_batches(config, dataset, device)
    state.counters.total_steps = 1_000_000
    for network in () if share is None else (state.generator, state.discriminator):
        share_statistics(network)
    return Prepared(state, build_objective(config, batches, share), batches)


def step_of(run: Prepared) -> Callable[[], None]:
    """Returns a function that makes one step: all updates of D, and one of G."""

    def step() -> None:
        while training_step(*run) is None:
            pass

    return step
