"""The estimate of a dry run: what a whole run will take, in seconds and on the disk, from what its parts cost once."""

from __future__ import annotations

import os
import shutil
from bisect import bisect_right
from functools import partial
from pathlib import Path
from typing import NamedTuple

from gan_cli.config.train_config import Config
from gan_cli.errors import StorageError
from gan_cli.images.animation import MAX_FRAMES
from gan_cli.training.alternation import WARMUP_EVERY, WARMUP_ROUNDS, Alternation
from gan_cli.training.budget import fits_in_budget, parse_duration

MOST_STEPS = 10**12


class Costs(NamedTuple):
    """What each part of a run costs once, by its name: `seconds`, and `sizes` in bytes that stay on the disk.

    The parts are update (of one network), log, grid, frame (of the animation of the grids), checkpoint, evaluation and
    preparation, which is what evaluations need before the first of them. The last two and update need no disk space.
    """

    seconds: dict[str, float]
    sizes: dict[str, int]


class Part(NamedTuple):
    """A part of the whole run: how often it is done, and what that takes together."""

    name: str
    times: int
    seconds: float
    size: int = 0


def steps_and_parts(
    config: Config, costs: Costs, alternation: Alternation, total_steps: int | None
) -> tuple[int, list[Part]]:
    """Returns the number of steps of a run and its parts.

    If `total_steps` is None, the number is the most steps, at least 1, whose parts fit into the budget. The budget does
    not count some of the parts.
    """
    parts = partial(_parts, config, costs, alternation)
    if total_steps is None:
        assert config.budget is not None
        outside = ["animation", "preparing evaluations"]
        if not fits_in_budget(costs.seconds["evaluation"], config.budget):
            outside.append("evaluations")

        def seconds(steps: int) -> float:
            return sum(part.seconds for part in parts(steps) if part.name not in outside)

        total_steps = max(1, bisect_right(range(1, MOST_STEPS), parse_duration(config.budget), key=seconds))
    return total_steps, parts(total_steps)


def _parts(config: Config, costs: Costs, alternation: Alternation, steps: int) -> list[Part]:
    training, (seconds, sizes) = config.training, costs
    grids = times_due(steps, training.sample_every) + 1  # the first step is preceded by one
    evaluations = times_due(steps, training.evaluate_every) if seconds["evaluation"] else 0
    checkpoints = times_due(steps, training.checkpoint_every) + 1
    kept = min(checkpoints, config.keep or checkpoints) + (config.selection_metric is not None and evaluations > 1)
    on_disk = kept + (checkpoints > kept)  # the oldest one is removed when the next one is complete
    frames, lines = min(grids, MAX_FRAMES), times_due(steps, training.log_every)
    return [
        Part("steps", steps, updates_in(steps, alternation) * seconds["update"]),
        Part("lines of metrics", lines, lines * seconds["log"], lines * sizes["log"]),
        Part("grids", grids, grids * seconds["grid"], (grids + 1) * sizes["grid"]),  # and one of real samples
        Part("checkpoints", checkpoints, checkpoints * seconds["checkpoint"], on_disk * sizes["checkpoint"]),
        Part("evaluations", evaluations, evaluations * seconds["evaluation"]),
        Part("preparing evaluations", bool(seconds["preparation"]), seconds["preparation"]),
        Part("animation", 1, frames * seconds["frame"], frames * sizes["frame"]),
    ]


def times_due(steps: int, every: int) -> int:
    """Returns how often work is done that is due each `every` steps (0: never) and after the last of `steps` steps."""
    return -(-steps // every) if every else 1


def updates_in(steps: int, alternation: Alternation) -> int:
    """Returns the number of updates of both networks in this many steps, which are updates of G."""
    rounds = -(-steps // alternation.g_updates)
    warmup_rounds = min(rounds, WARMUP_ROUNDS) + (rounds - 1) // WARMUP_EVERY if alternation.warmup else 0
    return steps + rounds * alternation.d_updates + warmup_rounds * (alternation.warmup - alternation.d_updates)


def free_bytes(output: Path) -> int:
    """Returns the free bytes where `output` is or will be created. Raises StorageError if it cannot be written."""
    existing = next(each for each in (output.absolute(), *output.absolute().parents) if each.exists())
    if not existing.is_dir():
        raise StorageError(f"output={output}: cannot hold a run, {existing} is a file")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise StorageError(f"output={output}: cannot be written, {existing} is read-only for this user")
    return shutil.disk_usage(existing).free


def format_seconds(seconds: float) -> str:
    """Returns a time for people, rounded: `3.2 ms`, `2.4 s`, `95 s`, `12 min`, `3 h 20 min`, `4 d 2 h`."""
    if seconds < 0.1:
        return f"{1000 * seconds:.2g} ms"
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if hours < 48 else f"{hours // 24:,} d {hours % 24} h"


def format_bytes(count: float) -> str:
    """Returns a size for people: `12 kB`, `3.4 MB`, `1.2 GB`."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count / 1e3:,.0f} kB"
