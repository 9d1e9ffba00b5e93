"""How many processes a run has, and where it computes: what a resumed run keeps of it. Imports no torch."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from gan_cli.config import train_config
from gan_cli.config.options.loop import DEVICE_OPTIONS
from gan_cli.config.train_config import Config
from gan_cli.config.validation import parse
from gan_cli.errors import GanCliError, UsageError
from gan_cli.storage.locate import find_run
from gan_cli.storage.run_record import load_record

OF_PROCESSES = ("processes", "timeout", "batch_norm")  # keys of the group `device` that all its options have


def merged_device(saved: Mapping[str, Any], new: Mapping[str, Any], named: Collection[str]) -> dict[str, Any]:
    """Returns the section `device` of a resumed run: the saved one, with what the command names."""
    others = [key for key in named if key == "device" or key.startswith("device.")]
    replaced = any(key.removeprefix("device.") not in OF_PROCESSES for key in others)
    section = dict(new if replaced else saved)
    for leaf in OF_PROCESSES:
        section[leaf] = new[leaf] if f"device.{leaf}" in named else saved.get(leaf, new[leaf])
    return section


def with_saved_device(config: Config, named: Collection[str]) -> Config:
    """Returns the config with the device and the processes of the run that `resume=` names, unless `named` has them.

    If that run cannot be read, the config is returned unchanged: resuming it reports that.
    """
    if config.resume in (None, "auto"):
        return config
    with contextlib.suppress(GanCliError, OSError, KeyError, TypeError, AttributeError):
        saved = load_record(find_run(config.resume, config.output, log=lambda line: None)).config["device"]
        merged = merged_device(saved, dataclasses.asdict(config.device), named)
        return dataclasses.replace(config, device=parse(DEVICE_OPTIONS[merged["name"]], merged, "device"))
    return config


def settle_processes(config: Config, named: Collection[str], started: int | None) -> Config:
    """Returns a command's config with its number of processes: torchrun has `started` them, or None.

    Raises UsageError if the run cannot be trained by that number, unless only process 0 can know.
    """
    config = with_saved_device(config, named)
    if started is not None:
        check_count(config, named, started)
        config = with_processes(config, started)
    trained = config if config.resume is None else _resumed(config, named)
    if trained is not None:
        check_processes(trained)
    return config


def _resumed(config: Config, named: Collection[str]) -> Config | None:
    """Returns the config of the run that `resume=` names, as far as it decides whether several processes can train it.

    None if that run is found only later, or cannot be read, as on another machine than that of process 0.
    """
    if config.resume == "auto":
        return None
    with contextlib.suppress(GanCliError, OSError, KeyError, TypeError, AttributeError):
        record = load_record(find_run(str(config.resume), config.output, log=lambda line: None))
        saved = train_config.parse_unvalidated(record.config)
        batch_size = config.batch_size if "batch_size" in named else saved.batch_size
        accumulate = (config if "training.accumulate" in named else saved).training.accumulate
        training = dataclasses.replace(saved.training, accumulate=accumulate)
        return dataclasses.replace(saved, device=config.device, batch_size=batch_size, training=training)
    return None


def with_processes(config: Config, count: int) -> Config:
    """Returns the config with another number of processes."""
    return dataclasses.replace(config, device=dataclasses.replace(config.device, processes=count))


def check_count(config: Config, named: Collection[str], started: int) -> None:
    """Raises UsageError if the command names another number of processes than were `started`."""
    if "device.processes" in named and config.device.processes != started:
        raise UsageError(
            f"device.processes={config.device.processes}: torchrun started {started}, leave device.processes out"
        )


def process_changes(saved: Config, config: Config) -> list[str]:
    """Returns a line if the run now has another number of processes."""
    before, now = saved.device.processes, config.device.processes
    if before == now:
        return []
    return [f"processes: {now}, before {before}: the same training, but results may differ in their last bits"]


def check_processes(config: Config) -> None:
    """Raises UsageError if the config cannot be trained by its processes, such as by a batch that is not divisible."""
    if config.device.processes > 1 and config.compile:
        raise UsageError("compile=true: compiles networks for one process alone, leave one of both out")
    training, count = config.training, config.device.processes
    half = 2 if "path_length" in config.auxiliary else 1
    unit = count * training.accumulate * training.pack * half
    if count == 1 or config.batch_size % unit == 0:
        return
    parts = {
        f"device.processes={count}": count,
        f"training.accumulate={training.accumulate}": training.accumulate,
        f"training.pack={training.pack}": training.pack,
        "auxiliary=path_length, which uses half of it": half,
    }
    reasons = ", ".join(text for text, number in parts.items() if number > 1)
    raise UsageError(
        f"batch_size={config.batch_size}: the batch is divided among the processes, so it must be a multiple of {unit}"
        f" ({reasons})"
    )
