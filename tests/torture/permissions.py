"""Commands on folders and files that their user may not read or write, which are then made accessible again.

Root may read and write everything, so the commands of root run as the user of number OTHER; where this user may not
read the installed Python, they run as root without its capabilities, which then has the permissions of an owner.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from functools import cache
from pathlib import Path

from torture.kills import nth
from torture.scenarios import SCENARIOS, arguments_of, complete, made_folder, reference
from torture.verify import differences, state_of
from torture.worker import Trial

OTHER = 65534
NAMES = ("resume", "grid", "images", "npz", "export", "eval", "report")
PLACES = (
    (".", 0o500), ("run", 0o500), ("run", 0), ("run/checkpoints", 0o500), ("run/checkpoints", 0),
    ("run/samples", 0o500), ("run/samples", 0), ("run/config.json", 0), ("run/config.json", 0o400),
    ("run/metrics.jsonl", 0), ("run/metrics.jsonl", 0o400), ("run/train.log", 0o400), ("run/.lock", 0),
    ("run/checkpoints/last.safetensors", 0), ("run/report.html", 0), ("../home", 0o500), ("../tmp", 0o500),
)  # fmt: skip
OF_TRAIN = ((".", 0o500), ("outputs", 0o500), ("outputs", 0), ("outputs/r", 0o500), ("../home", 0), ("../tmp", 0o500))
CASES = [("train", *place) for place in OF_TRAIN] + [(name, *place) for name in NAMES for place in PLACES]
CODES = (0, 2, 3, 5)


def forbidden_place(trial: Trial) -> None:
    """Takes permissions away, gives a command, which must succeed or end with one line that names a path, and again."""
    case = nth(trial, trial.index, CASES)
    if case is None:
        return
    name, place, mode = case
    scenario = SCENARIOS[name]
    trial.note = f"{name}, {place} has mode {mode:03o}"
    whole = reference(trial, name, scenario)
    arguments = arguments_of(scenario, trial)
    path = trial.here / place
    if name == "train":
        path.mkdir(parents=True, exist_ok=True)
    _give_to_other(trial)
    before = path.stat().st_mode
    path.chmod(mode)
    try:
        ended = trial.run(scenario.command, *arguments, before=become_other)
    finally:
        path.chmod(before)
    if ended.code not in CODES:
        trial.fault("wrong", f"exit code {ended.code}: {ended.last_line}")
    if ended.code and len(ended.error.strip().splitlines()) != 1:
        trial.fault("wrong", f"not one line of error: {ended.error[-300:]!r}")
    if ended.code and "/" not in ended.last_line:
        trial.fault("wrong", f"names no path: {ended.last_line}")
    if ended.code == 0 and name not in ("train", "resume", "report"):
        lost = [
            each for each in differences(state_of(made_folder(trial)), whole.states[0], False) if each.kind == "lost"
        ]
        trial.faults += lost[:1]
    complete(trial, name, scenario, older=False, before=become_other, unwritten_metrics=True)
    # a report that may not be read could be another's file, which is not replaced
    trial.faults = [each for each in trial.faults if not each.text.startswith("report-2.html: is left")]


def _give_to_other(trial: Trial) -> None:
    if os.geteuid() == 0 and others_can_read_code():
        trial.bench.folder.chmod(0o711)
        for path in [trial.folder, *trial.folder.rglob("*")]:
            shutil.chown(path, OTHER, OTHER)


def become_other() -> None:
    """Gives up root's permissions in this process."""
    if os.geteuid() == 0 and others_can_read_code():
        os.setgroups([])
        os.setgid(OTHER)
        os.setuid(OTHER)
    elif os.geteuid() == 0:  # modules that are imported late could not be read: root without its capabilities
        ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())


@cache
def others_can_read_code() -> bool:
    """Returns whether other users may read the modules of Python, of its packages and of gan_cli."""
    import safetensors

    import gan_cli

    files = [Path(str(module.__file__)).resolve() for module in (os, safetensors, gan_cli)]
    return all(parent.stat().st_mode & 0o005 == 0o005 for file in files for parent in file.parents)
