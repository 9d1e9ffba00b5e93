"""After a training step ran out of memory: names a batch size that works, which `batch_trials.py` finds."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import subprocess
import traceback
from collections.abc import Iterator

import torch

from gan_cli.config import train_config
from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Dataset
from gan_cli.errors import UsageError, is_out_of_memory
from gan_cli.isolated_process import child_command
from gan_cli.state.train_state import TrainState

SECONDS = 60  # for all trials


@contextlib.contextmanager
def naming_batch_that_works(config: Config, dataset: Dataset, state: TrainState, command: str = "") -> Iterator[None]:
    """Raises UsageError if memory runs out while entered. Its text names a batch size that was tried and works.

    `command` resumes the run, once it has done a step; empty if nothing does. The state is not usable afterwards.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # whose local variables hold tensors
        _free_memory(state)
        add = f"add it to {command}" if command and state.counters.step > 0 else "add it"
        advice = _advice(_find_batch(config, dataset), add)
        raise UsageError(f"out of memory at batch_size={config.batch_size}{advice}") from None


def _free_memory(state: TrainState) -> None:
    """Frees what the failed step has allocated, as far as the trials do not need it to be there."""
    state.discriminator_output, state.fakes = None, None
    for network in (state.generator, state.discriminator):
        network.zero_grad(set_to_none=True)
    gc.collect()
    if state.device.type == "cuda":
        torch.cuda.empty_cache()


def _advice(found: dict[str, int] | None, add: str) -> str:
    """Returns the end of the message: which settings work here, and how to `add` them."""
    if found is None:
        return ": choose a smaller batch_size, image_size or network"
    if not found:
        return ", and no smaller one works here: choose a smaller image_size or network"
    ways = [f"training.accumulate={found['accumulate']}"] if "accumulate" in found else []
    ways += ["training.checkpoint_activations=true"] if "checkpoint_activations" in found else []
    whole = f"{' or '.join(ways)} with the same batch_size"
    if "batch_size" not in found:
        return f"; {whole} works here: {add}"
    return f"; batch_size={found['batch_size']} works here{f', and so does {whole}' if ways else ''}: {add}"


def _find_batch(config: Config, dataset: Dataset) -> dict[str, int] | None:
    """Returns the settings that a process of `batch_trials.py` found to work; empty if none do, None if it failed."""
    request = {
        "config": train_config.to_dict(config),
        "samples": list(dataset.samples.shape),
        "labels": None if dataset.labels is None else dataset.labels.tolist(),
        "classes": dataset.classes,
    }
    print("out of memory: trying smaller batches ...", flush=True)
    with contextlib.suppress(ValueError, OSError, subprocess.TimeoutExpired):
        return json.loads(_output_of(child_command("gan_cli.launch.batch_trials"), json.dumps(request).encode()))
    return None


def _output_of(command: list[str], content: bytes) -> bytes:
    """Runs a command with this standard input, for SECONDS at most, and ends it and its own child processes."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as child:
        try:
            return child.communicate(content, timeout=SECONDS)[0]
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
