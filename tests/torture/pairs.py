"""Two commands at once on one run: equal ones, and all pairs of different ones."""

from __future__ import annotations

import time
from itertools import combinations_with_replacement
from random import Random

from torture.scenarios import SCENARIOS, arguments_of, copy_run, finished_run
from torture.shim import Event, Shim
from torture.verify import UNREADABLE, differences, state_of, stray_files
from torture.worker import Ended, Trial

COMMANDS = ("images", "grid", "export", "eval", "report", "npz", "resume", "walk")
PAIRS = [*combinations_with_replacement(COMMANDS, 2)]
CLAIMS = ("replace", "rename", "link")  # calls by which a file gets its name
WAIT = 0.3  # seconds


def two_at_once(trial: Trial) -> None:
    """Starts two commands and holds each before it names its files, so that they meet.

    Both must succeed, or one must say that the run is in use. What a command reports must exist, both results are kept,
    and nothing temporary is left.
    """
    names = Random(trial.seed).sample(PAIRS, len(PAIRS))[trial.index % len(PAIRS)]
    trial.note = " and ".join(names)
    copy_run(trial)
    before = state_of(finished_run(trial))

    def hold(count: int, event: Event, write: object) -> None:
        if event.name in CLAIMS and trial.random.random() < 0.7:
            time.sleep(WAIT)

    children = []
    for name in names:
        trial.random.random()  # so that the two are held at different calls
        scenario, install = SCENARIOS[name], Shim(trial.here, hold).install
        children.append(trial.start_command(scenario.command, *arguments_of(scenario, trial), before=install))
    ended = [trial.wait(child) for child in children]
    for name, each in zip(names, ended, strict=True):
        if each.code not in (0, 5) or (each.code == 5 and "in use by" not in each.error):
            trial.fault("wrong", f"{name}: exit code {each.code}, {each.last_line}")
    after = state_of(trial.here / "run")
    _check_results(trial, ended, {path for path in after if path not in before})
    changed = differences(after, before)
    trial.faults += [each for each in changed if each.kind in ("leftover", "corrupt")]
    trial.faults += [each for each in changed if each.text.endswith("is missing") and "step_" not in each.text]
    trial.faults += stray_files(trial.folder)
    if any(str(value).startswith(UNREADABLE) for value in after.values()):
        trial.fault("corrupt", f"unreadable: {[path for path in after if str(after[path]).startswith(UNREADABLE)]}")


def _check_results(trial: Trial, ended: list[Ended], made: set[str]) -> None:
    """Two commands that report success must have made two results, in different places unless both are reports."""
    told = [_told_paths(trial, each, made) for each in ended if each.code == 0]
    if len(told) == 2 and told[0] and told[0] == told[1]:
        trial.fault("lost", f"both report {sorted(told[0])[0]}")


def _told_paths(trial: Trial, ended: Ended, made: set[str]) -> set[str]:
    """Returns the new files that the output of a command names."""
    words = ended.output.split()
    inside = [word.rstrip(":,").partition("/run/")[2] for word in words if "/run/" in word]
    return {path for path in inside if path and any(each == path or each.startswith(f"{path}/") for each in made)}
