"""What commands say when the disk is full: the file, its needed bytes if it is a checkpoint, and the free bytes."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence

from torture.kills import check_failed
from torture.scenarios import SCENARIOS, Scenario, arguments_of, reference
from torture.shim import FAILS, Event, Shim, failing
from torture.worker import Ended, Trial

NAMES = ("resume", "images", "train", "export", "resume", "npz", "train", "eval", "resume", "grid", "train", "walk")
NUMBERS = (errno.ENOSPC, errno.ENOSPC, errno.EDQUOT)
FREE = re.compile(r"[\d,]+ bytes free")
NEEDED = re.compile(r"needs [\d,]+ bytes, [\d,]+ bytes free")
STEP = re.compile(r"/checkpoints/(?:\.gan-cli-[^/]*/)?(step_\d{8}\.safetensors)")
HIDDEN = "/.gan-cli-"


def full_disk(trial: Trial) -> None:
    """Fills the disk at a random call, for a moment or for ever, and reads what the command says.

    A run that cannot save a checkpoint of its schedule warns, and goes on. If it cannot save the last one, it ends with
    exit code 5, as every other command does.
    """
    name = NAMES[trial.index % len(NAMES)]
    scenario, number = SCENARIOS[name], trial.random.choice(NUMBERS)
    whole = reference(trial, name, scenario)
    calls = [n for n, event in enumerate(whole.events, 1) if event.name in FAILS[number]]
    if scenario.command == "train" and trial.random.random() < 0.7:
        calls = [n for n in calls if "/checkpoints" in whole.events[n - 1].path]
    call, forever = trial.random.choice(calls), trial.random.random() < 0.5
    event = whole.events[call - 1]
    trial.note = f"{name}, {os.strerror(number)} {'for ever' if forever else 'once'} at call {call}: {event.path}"
    before = Shim(trial.here, failing(call, number, forever, trial.folder / "point")).install
    ended = trial.run(scenario.command, *arguments_of(scenario, trial), before=before)
    if ended.code == 5:
        _check_error(trial, ended, whole.events, call)
    if scenario.command == "train":
        _check_run(trial, scenario, ended, whole.events, call, forever=forever)
    check_failed(trial, name, ended, whole, forever)


def _check_error(trial: Trial, ended: Ended, events: Sequence[Event], call: int) -> None:
    """The error must name the free bytes and a path: that of a failed file, or the folder in which it was hidden."""
    if not FREE.search(ended.error):
        trial.fault("wrong", f"does not say how much is free: {ended.last_line}")
    paths = {event.path.partition(HIDDEN)[0] for event in events[call - 1 :]} | {
        event.path.rpartition("/")[0] for event in events[call - 1 :]
    }
    if not any(path and path.partition("/20")[0] in ended.error for path in paths):
        trial.fault("wrong", f"names no failed path: {ended.last_line}")


def _check_run(
    trial: Trial, scenario: Scenario, ended: Ended, events: Sequence[Event], call: int, *, forever: bool
) -> None:
    """Each checkpoint that could not be saved must be warned of; the last one decides about the exit code."""
    saves = checkpoints_of(events)
    failed = {name for n, name in saves.items() if n == call or (forever and n > call)}
    if not forever and events[call - 1].name == "link":  # then `last` is a copy
        failed = set()
    begun = min(saves)
    if call < begun:  # a run that cannot begin ends at once
        return
    last = max(saves.values())
    unsaved = forever and last in failed
    record = any(
        "config.json" in event.path for n, event in enumerate(events, 1) if n == call or (forever and n > call)
    )
    codes = {5} if unsaved else {0, 5} if record else {0}
    if ended.code not in codes:
        trial.fault("wrong", f"exit code {ended.code}, not {sorted(codes)}: {ended.last_line}")
    for name in sorted(failed - {last} if unsaved else failed):
        lines = [line for line in ended.output.splitlines() if "warning:" in line and name in line]
        if not any(NEEDED.search(line) and "going on" in line for line in lines):
            trial.fault("wrong", f"no warning with path, needed and free bytes of {name}: {lines}")
    if unsaved and not (last in ended.error and NEEDED.search(ended.error)):
        trial.fault("wrong", f"does not name {last}, needed and free bytes: {ended.last_line}")
    if ended.code == 0 and (failed or call not in saves) and "warning:" not in ended.output + ended.error:
        trial.fault("wrong", "nothing says that a file could not be written")


def checkpoints_of(events: Sequence[Event]) -> dict[int, str]:
    """Returns the numbers of the calls by which checkpoints are saved, with the name of the checkpoint."""
    found, name = {}, ""
    for n, event in enumerate(events, 1):
        if not f"{event.path}/".partition("/checkpoints/")[1]:
            continue
        if event.name == "mkdir" and n < len(events):  # of a temporary folder, whose file is opened next
            name = next((step[1] for step in [STEP.search(events[n].path)] if step), name)
        if name and event.name not in ("unlink", "rmdir"):
            found[n] = name
    return found
