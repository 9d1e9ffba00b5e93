"""A program that finds a batch size for which there is enough memory, by trying training steps.

It reads a config, the shape of a data set and its labels from standard input, and writes the settings that work to
standard output, both as JSON: a smaller batch, or the whole one in microbatches or with activation checkpointing. Each
trial is a process of its own: too little memory can also end a process, and a failed trial leaves memory in use that a
new run has.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

from gan_cli.config.compatibility import parse_config, validate
from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Dataset
from gan_cli.data.load_dataset import build_batches
from gan_cli.device import build_device, configure_process
from gan_cli.errors import UsageError
from gan_cli.plugins.loader import load_plugins
from gan_cli.state.growth import set_progress
from gan_cli.state.train_state import build_state
from gan_cli.training.objective import build_objective
from gan_cli.training.steps import discriminator_step, generator_step

TRIAL_STEPS = 2  # the optimizers allocate their state in the first
TRIAL_SECONDS = 15.0
BEFORE_LAST_TRIAL = 40.0  # seconds after which the last trial is left out, since all together have 60
RESERVE = 64 << 20  # bytes that a trial leaves free
USABLE = 0.9  # share of the available memory that a trial may use
MOST_PARTS = 10_000


def main() -> None:
    """Reads the request and writes the settings that work, each alone; see `find_batch` and `find_checkpointing`."""
    request = json.load(sys.stdin)
    load_plugins(request["config"].get("plugins") or [])
    config = parse_config(request["config"])
    may_checkpoint = not (config.compile or config.training.checkpoint_activations)
    config = dataclasses.replace(config, compile=False)  # which would take minutes
    labels = None if request["labels"] is None else torch.tensor(request["labels"])
    dtype = np.uint8 if len(request["samples"]) > 2 else np.float32
    samples = torch.from_numpy(np.zeros(request["samples"], dtype))
    dataset, began = Dataset(samples, "", labels, tuple(request["classes"])), time.monotonic()
    found = find_batch(config, dataset)
    if may_checkpoint and time.monotonic() - began < BEFORE_LAST_TRIAL:
        found |= find_checkpointing(config, dataset)
    print(json.dumps(found))


def find_checkpointing(config: Config, dataset: Dataset) -> dict[str, int]:
    """Returns `checkpoint_activations` if the batch size works with activation checkpointing, else an empty dict."""
    training = dataclasses.replace(config.training, checkpoint_activations=True)
    works = _works(dataclasses.replace(config, training=training), dataset)
    return {"checkpoint_activations": 1} if works else {}


def find_batch(config: Config, dataset: Dataset) -> dict[str, int]:
    """Returns the largest halved batch size that works, and the number of microbatches with which the whole one does.

    The dict is empty if no batch size works.
    """
    unit, size, took = config.training.accumulate * config.training.pack, config.batch_size, 0.0
    while True:
        size = size // (2 if took < TRIAL_SECONDS else 8) // unit * unit
        if size < unit or not _is_valid(smaller := dataclasses.replace(config, batch_size=size)):
            return {}
        started = time.monotonic()
        if _works(smaller, dataset):
            break
        took = time.monotonic() - started
    found = {"batch_size": size}
    accumulated = _accumulated(config, size // config.training.accumulate)
    if accumulated is not None and _works(accumulated, dataset):
        found["accumulate"] = accumulated.training.accumulate
    return found


def _accumulated(config: Config, most: int) -> Config | None:
    """Returns the config with as few microbatches as have at most `most` samples each; None if there is none."""
    training = config.training
    for count in range(training.accumulate + 1, min(config.batch_size, MOST_PARTS) + 1):
        if config.batch_size % (count * training.pack) == 0 and config.batch_size // count <= most:
            accumulated = dataclasses.replace(config, training=dataclasses.replace(training, accumulate=count))
            return accumulated if _is_valid(accumulated) else None
    return None


def _is_valid(config: Config) -> bool:
    """Returns whether the config is valid. A batch norm, for example, needs two samples."""
    with contextlib.suppress(UsageError):
        validate(config)
        return True
    return False


def _works(config: Config, dataset: Dataset) -> bool:
    """Returns whether a forked process can do training steps in time. It must not have computed anything before."""
    child = multiprocessing.get_context("fork").Process(target=_train, args=(config, dataset))
    child.start()
    child.join(TRIAL_SECONDS)
    child.kill()  # has no effect on a process that has ended
    child.join()
    return child.exitcode == 0


def _train(config: Config, dataset: Dataset) -> None:
    """Does training steps on samples of this shape. Raises an error if there is too little memory."""
    device = build_device(config.device)
    if device.type == "cpu":
        _refuse_more_than_available()
    configure_process(config, device)
    if isinstance(config.threads, int):
        torch.set_num_threads(config.threads)
    state, batches = build_state(config, device), build_batches(config, dataset, device)
    set_progress(state, 1)  # networks that grow need the most memory at the end
    objective = build_objective(config, batches)
    reserve = torch.empty(RESERVE, dtype=torch.uint8, device=device)
    for _ in range(TRIAL_STEPS):  # each lazy penalty is due in the first
        discriminator_step(state, objective, batches)
        generator_step(state, objective, batches)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    del reserve


def _refuse_more_than_available() -> None:
    """Lets allocating more memory than is available raise an error. Linux could end other processes instead."""
    free = available_memory()
    if free is None:
        return
    import resource  # not on Windows, where nothing is trained

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limit = used + int(free * USABLE)
    if soft == resource.RLIM_INFINITY or limit < soft:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


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


if __name__ == "__main__":
    main()
