"""Training steps in this process, without the command line."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from gan_cli.config.train_config import Config
from gan_cli.data.load_dataset import build_batches, build_dataset, with_classes
from gan_cli.state.train_state import TrainState, build_state
from gan_cli.training import steps
from gan_cli.training.objective import build_objective


def train_in_memory(config: Config, last_step: int | None = None) -> TrainState:
    """Trains up to `last_step`, by default for the steps of the config, without a run folder. Returns the state."""
    dataset = build_dataset(config.dataset, config.image_size)
    config = with_classes(config, dataset)
    state = build_state(config, torch.device("cpu"))
    state.counters.total_steps = config.steps
    batches = build_batches(config, dataset, state.device)
    objective = build_objective(config, batches)
    while state.counters.step < (config.steps if last_step is None else last_step):
        steps.training_step(state, objective, batches)
    return state


def wrap_updates(monkeypatch: pytest.MonkeyPatch, around: Callable[..., Any]) -> None:
    """Calls `around(step, state, objective, batches)` in place of each update; `step` is the update's function."""
    for name in ("discriminator_step", "generator_step"):
        monkeypatch.setattr(steps, name, partial(around, getattr(steps, name)))


def plant_nan(monkeypatch: pytest.MonkeyPatch, after_step: int) -> None:
    """Fills a parameter of G with NaN after each update at which `after_step` steps are done."""

    def poisoned(step: Callable[..., object], state: TrainState, *arguments: Any) -> object:
        outcome = step(state, *arguments)
        if state.counters.step == after_step:
            with torch.no_grad():
                next(state.generator.parameters()).fill_(float("nan"))
        return outcome

    wrap_updates(monkeypatch, poisoned)


def stop_after(updates: int, monkeypatch: pytest.MonkeyPatch, number: signal.Signals = signal.SIGINT) -> None:
    """Sends a signal to this process during the update of this number, counted over both networks."""
    done = 0

    def counting(step: Callable[..., object], *arguments: Any) -> object:
        nonlocal done
        done += 1
        if done == updates:
            os.kill(os.getpid(), number)
        return step(*arguments)

    wrap_updates(monkeypatch, counting)
