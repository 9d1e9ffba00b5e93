"""Restores the state of a checkpoint, and rolls a run back to one if values become NaN or infinite."""

from __future__ import annotations

import dataclasses

import torch

from gan_cli.config.train_config import Config
from gan_cli.errors import CheckpointError
from gan_cli.health.monitor import Finding
from gan_cli.randomness import derive_seed
from gan_cli.state import checkpoint
from gan_cli.state.checkpoint import Checkpoint
from gan_cli.state.shared_state import give_state
from gan_cli.state.train_state import TrainState, build_state, load_state_tensors
from gan_cli.storage.run_folder import CHECKPOINTS
from gan_cli.training.run import Run
from gan_cli.training.sample_grids import remove_later_grids


def restore(saved: Checkpoint, config: Config, end: int | None, device: torch.device) -> TrainState:
    """Builds the saved state on this device, with `end` as `total_steps`. A new time budget starts now."""
    state = build_state(config, device)
    load_state_tensors(state, saved.tensors)
    state.counters = dataclasses.replace(saved.counters)
    state.counters.set_end(end)
    # the number of images seen is computed from the batch size and must not change with it
    state.counters.images_offset += state.counters.d_updates * (saved.config.batch_size - config.batch_size)
    state.last_penalties = {
        key.removeprefix("penalty/"): torch.tensor(value)
        for key, value in saved.metrics.items()
        if key.startswith("penalty/")
    }
    state.seconds, state.budget_start = saved.provenance.seconds, saved.provenance.budget_start
    if (end is None and saved.counters.total_steps is not None) or config.budget != saved.config.budget:
        state.budget_start = state.seconds
    return state


def retry_seed(seed: int, retries: int) -> int:
    """Returns the seed of a run that was rolled back `retries` times: `seed` if 0, else one derived from both."""
    return seed if retries == 0 else derive_seed(seed, "retry", retries)


def roll_back(run: Run, finding: Finding) -> bool:
    """Sets the run back to the newest checkpoint of its schedule, to continue with another seed.

    A checkpoint of a stop is passed over, so that a run that was stopped goes back to where an unbroken one does.
    Returns False, without any change, if the config does not allow it, no retries are left or no checkpoint exists.
    """
    health, before, folder = run.config.health, run.state, run.folder / CHECKPOINTS
    if health.on_nonfinite != "rollback" or before.counters.retries >= health.retries:
        return False
    try:
        saved, refused = checkpoint.load_newest(folder, scheduled=True)
    except CheckpointError:
        return False
    state = restore(saved, run.config, before.counters.total_steps, before.device)
    state.counters.retries = before.counters.retries + 1
    state.seconds, state.budget_start = before.seconds, before.budget_start
    run.state, run.saved_metrics = state, saved.metrics
    give_state(state, run.group)
    step = state.counters.step
    for line in checkpoint.set_aside(saved, refused):
        run.log.info(f"warning: {line}")
    remove_later_grids(run, step)  # they would pass for those of the steps that are made anew
    run.save_checkpoint(saved.metrics)  # again, with the new number of retries, so that a resumed run knows it
    run.log.truncate(step)
    run.log.event(step, finding.name, finding.text)
    if run.config.budget is not None and state.counters.total_steps is not None:
        run.log.planned_end(step, state.counters.total_steps, state.seconds)
    run.restart_health()
    run.log.info(f"health: {finding.text}")
    tries = f"{state.counters.retries} of health.retries={health.retries}"
    run.log.info(f"back at step {step:,}, continuing with another seed: {tries}")
    return True
