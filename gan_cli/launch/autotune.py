"""Replaces `auto` in a config by a value: `precision` depends on the device, `threads` on a short timed trial."""

from __future__ import annotations

import dataclasses
import math
import time

import torch

from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Batches, Dataset
from gan_cli.data.load_dataset import build_batches
from gan_cli.device import STALL_FACTOR, count_cores, threads_set_by_user, time_threads
from gan_cli.distributed.process_environment import read_environment
from gan_cli.models.layers import MinibatchDeviations
from gan_cli.state.growth import set_progress
from gan_cli.state.train_state import TrainState, build_state
from gan_cli.training.objective import Objective, build_objective
from gan_cli.training.steps import discriminator_step, generator_step

TRIAL_VALUES = 100_000  # a trial step uses a batch of at most so many numbers, so that the step is short
TRIAL_STEPS, TRIAL_SECONDS = 4, 0.15  # each number of threads is timed until one of these limits is reached
BF16_CPUS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private functions of torch.cpu
FP16_GPUS = (7, 0)  # compute capability of the first GPUs whose tensor cores multiply float16 (Volta)
MIN_SPEEDUP = 1.1  # more threads are used only if they are this much faster, because they slow down other programs


def resolve_precision(config: Config, device: torch.device) -> Config:
    """Replaces `precision=auto`: for images bf16 if the device computes it fast, else fp16 if a GPU computes this fast.

    Points need the digits of fp32.
    """
    if config.precision != "auto":
        return config
    of_images = len(config.sample_shape) > 1
    if of_images and computes_bf16_fast(device):
        return dataclasses.replace(config, precision="bf16")
    return dataclasses.replace(config, precision="fp16" if of_images and computes_fp16_fast(device) else "fp32")


def computes_bf16_fast(device: torch.device) -> bool:
    """Returns True if the device multiplies bfloat16 in hardware (CPU: AMX or AVX512-BF16, GPU: bf16 support)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = device.type == "cpu" and torch.backends.mkldnn.is_available()
    return able and any(getattr(torch.cpu, name, lambda: False)() for name in BF16_CPUS)


def computes_fp16_fast(device: torch.device) -> bool:
    """Returns True for GPUs of NVIDIA that multiply float16 in hardware: Volta (V100), Turing (T4) and later ones."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= FP16_GPUS


def describe_precision(config: Config, device: torch.device) -> str:
    """Returns a line about a precision that the device computes slowly, or that is chosen for lack of bf16; or ""."""
    precision = config.precision
    if device.type == "cuda" and not computes_bf16_fast(device):
        gpu = f"this GPU, of compute capability {'.'.join(map(str, torch.cuda.get_device_capability(device)))},"
        faster = "fp16 or fp32" if computes_fp16_fast(device) else "fp32"
        if precision == "bf16" or (precision == "fp16" and not computes_fp16_fast(device)):
            return f"warning: precision={precision}: {gpu} does not multiply it in hardware; use precision={faster}"
        if precision == "fp16":
            return f"precision: fp16, with scaled losses: {gpu} does not multiply bf16 in hardware"
    if device.type == "cpu" and precision == "fp16":
        return "warning: precision=fp16: is for GPUs, most CPUs compute it slowly; use precision=auto"
    return ""


def resolve_threads(config: Config, dataset: Dataset, device: torch.device) -> tuple[Config, str]:
    """Sets the number of CPU threads of this process. Returns the config with that number, and a note on its choice.

    Uses the number that `threads` gives, else 1 with `deterministic`. Else several processes divide the cores. Else, if
    the user set OMP_NUM_THREADS or the device is no CPU, keeps the number that torch has. Otherwise times small
    training steps with 1, 2, 4 ... threads, which takes well under a second. The note is empty if there is nothing to
    explain.
    """
    note = ""
    if isinstance(config.threads, int):
        count = config.threads
    elif config.deterministic:
        count, note = 1, "for deterministic=true"
    elif share := _share_of_cores(config.device.processes):
        count, note = share, "of the cores for each process"
    elif threads_set_by_user() or device.type != "cpu":
        count = torch.get_num_threads()
    else:
        count, note = _fastest(config, dataset, device)
    torch.set_num_threads(count)
    return dataclasses.replace(config, threads=count), note


def _share_of_cores(processes: int) -> int:
    """Returns the cores of this machine for each of the run's processes here; 0 for one alone, or if the user says."""
    environment = read_environment()
    of_torchrun = environment is not None and environment.store is None  # which sets OMP_NUM_THREADS itself
    if processes == 1 or (threads_set_by_user() and not of_torchrun):
        return 0
    return max(1, count_cores() // (processes if environment is None else environment.local_count))


def _fastest(config: Config, dataset: Dataset, device: torch.device) -> tuple[int, str]:
    """Chooses the number of threads by timing small training steps. Returns it and a note about the choice.

    Stops at the first number that is less than MIN_SPEEDUP times faster than the best before it, or at which the cores
    are busy with other programs.
    """
    cores = count_cores()
    counts = [2**power for power in range(cores.bit_length()) if 2**power < cores] + [cores]
    if len(counts) == 1:
        return 1, ""
    trial = _trial_config(config)
    state, batches = build_state(trial, device), build_batches(trial, dataset, device)
    set_progress(state, 1)  # networks that grow take the most time at the end
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
    """Returns the config without compilation and with a smaller batch, a multiple of what packing and the like need."""
    unit = config.training.accumulate * config.training.pack * MinibatchDeviations.group
    most = TRIAL_VALUES // math.prod(config.sample_shape) // unit * unit
    return dataclasses.replace(config, compile=False, batch_size=min(config.batch_size, max(unit, most)))


def _step_seconds(state: TrainState, objective: Objective, batches: Batches) -> float:
    """Returns the seconds of the fastest of several training steps, after one to warm up."""
    seconds: list[float] = []
    while len(seconds) <= TRIAL_STEPS and sum(seconds[1:]) < TRIAL_SECONDS:
        started = time.perf_counter()
        discriminator_step(state, objective, batches)
        generator_step(state, objective, batches)
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])
