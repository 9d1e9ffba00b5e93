"""The parts of the torture: what each tries, how often, and by which function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torture import boundaries, configs, damage, hostile, kills, pairs, power, signals
from torture.worker import Trial


@dataclass(frozen=True)
class Part:
    """A row of the table: what is tried, the number of trials in the quick and in the full set, and the trial."""

    what: str
    quick: int
    full: int
    run: Callable[[Trial], None]


PARTS = {
    "kill": Part("random kills of all commands, then the same command", 15, 1000, kills.random_kill),
    "kill_at_call": Part("kills before and within each call of a save", 20, 600, kills.kill_at_call),
    "power": Part("power cuts at a call of a save, from its recorded trace", 20, 500, power.power_cut),
    "error": Part("ENOSPC, EDQUOT, EIO, EROFS, EACCES at each call, once and for ever", 20, 8000, kills.failing_call),
    "damage": Part(
        "flipped bits and truncations of a checkpoint, 50 a trial", 500 // damage.BATCH, 50, damage.damaged_checkpoint
    ),
    "boundary": Part("resume after a random update, each option in turn", 24, 480, boundaries.boundary),
    "signal": Part("signals at random instants, ignored, twice, in a row", 20, 400, signals.signalled),
    "hostile": Part("hostile run folders, checkpoints, pictures, archives, YAML", 60, 400, hostile.hostile_input),
    "pair": Part("two commands at once on one run", 12, 112, pairs.two_at_once),
    "config": Part("random configs train 2 steps or are refused, 10 a trial", 10, 300, configs.random_configs),
}
