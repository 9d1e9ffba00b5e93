"""The parts of the torture: what each tries, how often, and by which function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torture import (
    boundaries,
    command_signals,
    configs,
    damage,
    full_disk,
    fuzz,
    hostile,
    kills,
    pairs,
    permissions,
    power,
    reads,
    signals,
    soak,
    strace,
    sweeps,
)
from torture.hostile import files
from torture.worker import Trial


@dataclass(frozen=True)
class Part:
    """A row of the table: what is tried, the number of trials in the quick and in the full set, and the trial.

    A trial makes `batch` cases, unless `cases` are the numbers of all cases of both sets. With `visits_all`, the full
    set ends when all cases were tried, maybe before `full`.
    """

    what: str
    quick: int
    full: int
    run: Callable[[Trial], None]
    batch: int = 1
    visits_all: bool = False
    cases: tuple[int, int] | None = None

    def asked(self, count: int) -> str:
        """Returns the number of cases that `count` trials make, as text."""
        if self.visits_all and count == self.full:
            return "all"
        if self.cases is not None and count in (self.quick, self.full):
            return f"{self.cases[count == self.full]:,}"
        return f"{count * self.batch:,}"


PARTS = {
    "kill": Part("random kills of all commands, then the same command", 15, 1000, kills.random_kill),
    "task_kill": Part("random kills of runs with a task, then the same command", 3, 150, kills.kill_of_task),
    "kill_at_call": Part("kills before and within each call of a save", 20, 600, kills.kill_at_call, visits_all=True),
    "power": Part("power cuts at a call of a save, from its recorded trace", 20, 500, power.power_cut),
    "error": Part(
        "ENOSPC, EDQUOT, EIO, EROFS, EACCES at each call, once and for ever", 20, 8000, kills.failing_call,
        visits_all=True,
    ),
    "full_disk": Part("what is said of a full disk, at a random call", 6, 240, full_disk.full_disk),
    "read": Part("reads that fail, once and for ever, and files that end early", 6, 300, reads.failing_read),
    "strace": Part("kills and errors of system calls, by strace", 2, 60, strace.traced),
    "permission": Part(
        "files and folders that another user than root may not use", 4, 150, permissions.forbidden_place,
        visits_all=True,
    ),
    "damage": Part("flipped bits and truncations of a checkpoint", 10, 40, damage.damaged_checkpoint, damage.BATCH),
    "length": Part("a checkpoint cut off at every length", 0, 400, damage.cut_checkpoint, damage.LENGTHS, True),
    "boundary": Part("resume after a random update, each option in turn", 24, 480, boundaries.boundary),
    "signal": Part("signals at random instants, and ignored", 8, 300, signals.signalled),
    "command_signal": Part("signals to new runs, sweeps and all commands", 6, 240, command_signals.signalled_command),
    "double": Part("two signals, of which the second comes at a random instant", 4, 100, signals.signalled_twice),
    "restarts": Part("20 restarts in a row, each after one update", 1, 20, signals.restarted),
    "hostile": Part("hostile run folders, checkpoints, images, archives, YAML", 60, 400, hostile.hostile_input),
    "hostile_file": Part("hostile exports, caches, sweeps, databases of a search", 5, 400, files.hostile_file),
    "fuzz": Part("mutants of files that others may have made", *fuzz.TRIALS, fuzz.mutants, cases=fuzz.CASES),
    "pair": Part("two commands at once on one run", 12, 144, pairs.two_at_once),
    "config": Part("random configs train 2 steps or are refused", 10, 300, configs.random_configs, configs.BATCH),
    "job": Part("kills and signals of single jobs of a sweep", 2, 100, sweeps.interrupted_job),
    "soak": Part("20 minutes of training, killed every 30 to 90 seconds", 0, 1, soak.soak),
}  # fmt: skip
