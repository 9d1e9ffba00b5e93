"""What a resumed or replayed run has of another: the ends that one with a budget recorded, and where it was run."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from gan_cli import __version__
from gan_cli.checkpoint import Provenance
from gan_cli.config import Config
from gan_cli.errors import UsageError, one_line
from gan_cli.links import without_link
from gan_cli.machine import describe_device
from gan_cli.runfolder import BUDGET, find_run
from gan_cli.runlog import RunLog, read_ends

KEPT = "replay.jsonl"  # a copy, so that a replay needs no more than its own folder to be resumed


def find_ends(config: Config) -> Path | None:
    """Where the run that `replay` names recorded its ends; UsageError if it has none."""
    if config.replay is None:
        return None
    path = find_run(config.replay, config.output, "replay") / BUDGET
    if not read_ends(path):
        raise UsageError(f"replay={config.replay}: the run had no budget, or ended before its steps were known")
    return path


def keep_ends(found: Path | None, folder: Path) -> None:
    if found is not None:
        shutil.copyfile(found, without_link(folder / KEPT))


def kept_ends(config: Config, folder: Path) -> dict[int, int]:
    """By step, the end that is settled there; none unless the run is a replay."""
    return {} if config.replay is None else read_ends(folder / KEPT)


def tell_drift(saved: Provenance, device: torch.device, log: RunLog) -> None:
    """What differs from the machine the checkpoint was made on, and can change the last bits."""
    now = {"gan_cli": __version__, "torch": torch.__version__, "device": describe_device(device)}
    for key, value in now.items():
        before = getattr(saved, key)
        if before != value:
            log.say(f"warning: {key} was {one_line(before, 60)}, is {value}: results may differ in their last bits")
