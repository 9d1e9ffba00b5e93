"""After a training step ran out of memory: finds a batch size that works by trying short steps."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import shlex
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import torch

from gan_cli.config.compatibility import validate
from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Dataset
from gan_cli.data.load_dataset import build_batches
from gan_cli.errors import UsageError, is_out_of_memory
from gan_cli.state.train_state import Counters, TrainState
from gan_cli.training.objective import build_objective
from gan_cli.training.steps import discriminator_step, generator_step

TRIAL_STEPS = 2  # the optimizers allocate their state in the first
TRIAL_SECONDS = 5.0  # no larger batch is tried if it would end later than this
USABLE = 0.9  # share of the available memory that trials may use


@contextlib.contextmanager
def naming_batch_that_works(
    config: Config, dataset: Dataset, state: TrainState, folder: Path | None = None
) -> Iterator[None]:
    """Raises UsageError if memory runs out while entered. Its text names a batch size that was tried and works.

    The trials use the networks of `state` and change them. `folder` is that of the run, if the run can be resumed.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # whose local variables hold tensors
        state.compiled = {}  # compiling for each batch size would take minutes
        resumable = folder is not None and state.counters.step > 0
        add = "add it" + (f" to gan-train {shlex.quote(f'resume={folder}')}" if resumable else "")
        advice = _advice(config, dataset, state, add)
        raise UsageError(f"out of memory at batch_size={config.batch_size}{advice}") from None


def _advice(config: Config, dataset: Dataset, state: TrainState, add: str) -> str:
    """Returns the end of the message: which batch size works here, and how to `add` it."""
    counters, started = state.counters, time.perf_counter()
    try:
        with _refusing_more_than_available(state.device):
            size, seconds = _largest_batch(config, dataset, state, started)
            if size is None:
                return ", and no smaller one works here: choose a smaller image_size or network"
            accumulated = _accumulated(config, size)
            expected = seconds * config.batch_size / size
            if accumulated is None or expected > TRIAL_SECONDS or not _fits(accumulated, dataset, state):
                return f"; batch_size={size} works here: {add}"
            kept = f"training.accumulate={accumulated.training.accumulate}"
            return f"; batch_size={size} works here, and so does {kept} with the same batch_size: {add}"
    finally:
        state.counters = counters


def _largest_batch(config: Config, dataset: Dataset, state: TrainState, started: float) -> tuple[int | None, float]:
    """Returns the largest batch size that works, among doubled ones, and the seconds of its trial; None if none."""
    size, found, seconds = config.training.accumulate * config.training.pack, None, 0.0
    while size < config.batch_size and time.perf_counter() - started + 2 * seconds < TRIAL_SECONDS:
        trial = dataclasses.replace(config, batch_size=size)
        with contextlib.suppress(UsageError):  # too few samples for a batch norm
            validate(trial)
            before = time.perf_counter()
            if not _fits(trial, dataset, state):
                break
            found, seconds = size, time.perf_counter() - before
        size *= 2
    return found, seconds


def _accumulated(config: Config, size: int) -> Config | None:
    """Returns the config with as few microbatches as keep each at or below those of `size`; None if there is none."""
    training, most = config.training, size // config.training.accumulate
    for count in range(training.accumulate + 1, min(config.batch_size, 10_000) + 1):
        if config.batch_size % (count * training.pack) == 0 and config.batch_size // count <= most:
            accumulated = dataclasses.replace(config, training=dataclasses.replace(training, accumulate=count))
            with contextlib.suppress(UsageError):
                validate(accumulated)
                return accumulated
    return None


def _fits(config: Config, dataset: Dataset, state: TrainState) -> bool:
    """Tries training steps and returns whether the memory was enough."""
    gc.collect()
    if state.device.type == "cuda":
        torch.cuda.empty_cache()
    state.discriminator_output, state.fakes = None, None
    state.counters = Counters(step=0, d_updates=0, total_steps=None)  # each lazy penalty is due in update 0
    batches = build_batches(config, dataset, state.device)
    objective = build_objective(config, batches)
    try:
        for _ in range(TRIAL_STEPS):
            discriminator_step(state, objective, batches)
            generator_step(state, objective, batches)
        if state.device.type == "cuda":
            torch.cuda.synchronize(state.device)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


@contextlib.contextmanager
def _refusing_more_than_available(device: torch.device) -> Iterator[None]:
    """While entered, allocating more memory than is available raises an error. Linux could end the process instead."""
    free = available_memory() if device.type == "cpu" else None
    if free is None:
        yield
        return
    import resource  # not on Windows, where nothing is trained

    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limit = used + int(free * USABLE)
    if before[0] == resource.RLIM_INFINITY or limit < before[0]:
        resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def available_memory() -> int | None:
    """Returns the bytes that this process can still use on Linux, within the limit of its container; else None."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) << 10
    except (OSError, ValueError, KeyError):
        return None
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError, KeyError):
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        reclaimable = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())["inactive_file"]
        free = min(free, max(limit - used + int(reclaimable), 0))
    return free
