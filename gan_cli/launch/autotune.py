"""Replaces `auto` in a config: `precision` by what the device supports, `threads` by a short timed trial."""

from __future__ import annotations

import dataclasses
import math
import os
import time

import torch

from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Batches, Dataset
from gan_cli.data.load_dataset import build_batches
from gan_cli.device import STALL_FACTOR, threads_set_by_user, time_threads
from gan_cli.models.layers import MinibatchDeviations
from gan_cli.state.train_state import TrainState, build_state
from gan_cli.training.objective import Objective, build_objective
from gan_cli.training.steps import discriminator_step, generator_step

TRIAL_VALUES = 100_000  # limit on the numbers in the batch of a trial step, which keeps it short
TRIAL_STEPS, TRIAL_SECONDS = 4, 0.15  # limits of the trial of each number of threads, whichever comes first
BF16_CPUS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private functions of torch.cpu
MIN_SPEEDUP = 1.1  # more threads must be so much faster: they also slow down other programs, and suffer from them


def resolve_precision(config: Config, device: torch.device) -> Config:
    """The config with `precision=auto` replaced by bf16 or fp32; points need the digits of fp32."""
    if config.precision != "auto":
        return config
    fast = len(config.sample_shape) > 1 and computes_bf16_fast(device)
    return dataclasses.replace(config, precision="bf16" if fast else "fp32")


def computes_bf16_fast(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware: AMX or AVX512-BF16 of a CPU, tensor cores of a GPU."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = device.type == "cpu" and torch.backends.mkldnn.is_available()
    return able and any(getattr(torch.cpu, name, lambda: False)() for name in BF16_CPUS)


def resolve_threads(config: Config, dataset: Dataset, device: torch.device) -> tuple[Config, str]:
    """Sets the process's number of threads; returns the config with it, and a note on how it was found.

    The user's number is used if `threads` or OMP_NUM_THREADS gives one; with `deterministic` it is 1. Else a small
    step of this config is timed with 1, 2, 4 ... threads, in well under a second.
    """
    note = ""
    if isinstance(config.threads, int):
        count = config.threads
    elif config.deterministic:
        count, note = 1, "for deterministic=true"
    elif threads_set_by_user() or device.type != "cpu":
        count = torch.get_num_threads()
    else:
        count, note = _fastest(config, dataset, device)
    torch.set_num_threads(count)
    return dataclasses.replace(config, threads=count), note


def _fastest(config: Config, dataset: Dataset, device: torch.device) -> tuple[int, str]:
    """The number of threads with the shortest step, and a note with the times; stops at the first that is no faster."""
    counts = [2**power for power in range(_cores().bit_length()) if 2**power < _cores()] + [_cores()]
    if len(counts) == 1:
        return 1, ""
    trial = _trial_config(config)
    state, batches = build_state(trial, device), build_batches(trial, dataset, device)
    objective = build_objective(trial, batches)
    times: dict[int, float] = {}
    best = counts[0]
    alone = time_threads(1)
    for count in counts:
        if count > 1 and time_threads(count) > STALL_FACTOR * alone:
            return best, f"not {count}: the machine's cores are busy"
        torch.set_num_threads(count)
        times[count] = _step_seconds(state, objective, batches)
        if count > best and times[count] * MIN_SPEEDUP > times[best]:
            break
        best = count
    shown = ", ".join(f"{count}: {seconds * 1000:.1f} ms" for count, seconds in times.items())
    return best, f"a trial step takes with {shown}"


def _trial_config(config: Config) -> Config:
    """The config without compilation and with a smaller batch.

    The batch size stays a multiple of what accumulation, packing and D's minibatch statistics need.
    """
    unit = config.training.accumulate * config.training.pack * MinibatchDeviations.group
    most = TRIAL_VALUES // math.prod(config.sample_shape) // unit * unit
    return dataclasses.replace(config, compile=False, batch_size=min(config.batch_size, max(unit, most)))


def _step_seconds(state: TrainState, objective: Objective, batches: Batches) -> float:
    """The seconds of the fastest of several steps, after one step of warm-up."""
    seconds: list[float] = []
    while len(seconds) <= TRIAL_STEPS and sum(seconds[1:]) < TRIAL_SECONDS:
        started = time.perf_counter()
        discriminator_step(state, objective, batches)
        generator_step(state, objective, batches)
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])


def _cores() -> int:
    """The number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
