"""What `auto` stands for on the machine at hand: the precision by what it can do, the threads by a short trial."""

from __future__ import annotations

import dataclasses
import math
import os
import time

import torch

from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Batches, Dataset
from gan_cli.data.load_dataset import build_batches
from gan_cli.device import STALLED, probe_seconds, threads_are_given
from gan_cli.models.layers import MinibatchDeviations
from gan_cli.state.train_state import TrainState, build_state
from gan_cli.training.objective import Objective, build_objective
from gan_cli.training.steps import discriminator_step, generator_step

TRIAL_VALUES = 100_000  # at most so many numbers are in the batch of a trial step, which keeps it short
TRIAL_STEPS, TRIAL_SECONDS = 4, 0.15  # of each number of threads: whichever comes first
BF16_CPUS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # torch's own questions, which are not public
GAIN = 1.1  # how much faster more threads must be to be taken: they also disturb other work, and are disturbed by it


def settle_precision(config: Config, device: torch.device) -> Config:
    """The config with `precision=auto` replaced; points keep float32, whose digits they need."""
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


def settle_threads(config: Config, dataset: Dataset, device: torch.device) -> tuple[Config, str]:
    """The config with the number of threads that the process now has, and how it was found, in words.

    A number that the user gave stands, in the config or as OMP_NUM_THREADS; `deterministic` takes one. Else a small
    step of this config is timed with 1, 2, 4 ... threads, in well under a second.
    """
    said = ""
    if isinstance(config.threads, int):
        count = config.threads
    elif config.deterministic:
        count, said = 1, "for deterministic=true"
    elif threads_are_given() or device.type != "cpu":
        count = torch.get_num_threads()
    else:
        count, said = _fastest(config, dataset, device)
    torch.set_num_threads(count)
    return dataclasses.replace(config, threads=count), said


def _fastest(config: Config, dataset: Dataset, device: torch.device) -> tuple[int, str]:
    """The number of threads whose steps are shortest, and the times; more are tried as long as they help."""
    counts = [2**power for power in range(_cores().bit_length()) if 2**power < _cores()] + [_cores()]
    if len(counts) == 1:
        return 1, ""
    trial = _shortened(config)
    state, batches = build_state(trial, device), build_batches(trial, dataset, device)
    objective = build_objective(trial, batches)
    times: dict[int, float] = {}
    best = counts[0]
    alone = probe_seconds(1)
    for count in counts:
        if count > 1 and probe_seconds(count) > STALLED * alone:
            return best, f"not {count}: the machine's cores are busy"
        torch.set_num_threads(count)
        times[count] = _step_seconds(state, objective, batches)
        if count > best and times[count] * GAIN > times[best]:
            break
        best = count
    shown = ", ".join(f"{count}: {seconds * 1000:.1f} ms" for count, seconds in times.items())
    return best, f"a trial step takes with {shown}"


def _shortened(config: Config) -> Config:
    """The same game, not compiled, with a smaller batch of whole parts and packs, that D can compare groups of."""
    unit = config.training.accumulate * config.training.pack * MinibatchDeviations.group
    most = TRIAL_VALUES // math.prod(config.sample_shape) // unit * unit
    return dataclasses.replace(config, compile=False, batch_size=min(config.batch_size, max(unit, most)))


def _step_seconds(state: TrainState, objective: Objective, batches: Batches) -> float:
    """Of the fastest of some steps after a first one, which warms up."""
    seconds: list[float] = []
    while len(seconds) <= TRIAL_STEPS and sum(seconds[1:]) < TRIAL_SECONDS:
        started = time.perf_counter()
        discriminator_step(state, objective, batches)
        generator_step(state, objective, batches)
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
