"""Finds the run, sweep, checkpoint or exported generator that a user names. Every command uses the same rule.

The name is tried first as a path, then as a name in the folder of outputs. If several things match, one line on
standard error says which one is used. Imports no torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gan_cli.errors import CheckpointError, UsageError, count_noun, did_you_mean, first_few, one_line
from gan_cli.storage.run_folder import (
    CHECKPOINTS,
    JOB_FOLDER,
    JOB_OUTCOME,
    LAST,
    LEADERBOARD,
    RECORD,
    SWEEP_RECORD,
    runs_in,
    sweeps_in,
)

OUTPUT = "outputs"  # default folder in which names are looked up
OWN_CACHE = "~/.cache/gan-cli"
CARD = RECORD  # the name of the file with an exported generator's config, in the same folder as the generator
EXPORTED = {"safetensors": "model.safetensors", "onnx": "model.onnx", "pt2": "model.pt2"}
FAILED = ("diverged", "collapsed", "failed")  # statuses of a run that did not end well
MOST_NAMED = 5  # limit on the names listed in a message
AN_EXPORT = "is an exported generator alone"
# For each key that cannot use an exported generator, the text that says what the export lacks.
LACKING = {
    "resume": "no discriminator and no optimizers to go on with",
    "replay": "no record of a run to repeat",
    "init_from": "no discriminator to start from",
    "eval": "no record of its data to compare with; make samples with gan-sample format=images, and evaluate them with"
    " gan-eval real=FOLDER fake=FOLDER",
    "report": "no record of a run to show",
}
LogCallback = Callable[[str], None]


class Location(NamedTuple):
    """What was found at `path`.

    `kind` is one of: "run" (a run's folder), "sweep" (a sweep's folder), "checkpoints" (a folder of checkpoint files),
    "runs" (a folder with the runs and sweeps of one name), "export" (an exported generator), "file" (any other file).
    """

    kind: str
    path: Path


def print_to_stderr(line: str) -> None:
    """Prints a line on standard error."""
    print(line, file=sys.stderr, flush=True)


def locate(named: str | os.PathLike[str], output: str = OUTPUT, log: LogCallback = print_to_stderr) -> Location | None:
    """Returns the location that `named` means, first tried as a path, then as a name in the folder `output`.

    If gan-cli wrote something at the path and in `output`, logs a line saying that the path is used. If it wrote
    nothing at these two places, but `named` is a folder with exactly one exported generator, returns that generator.
    Otherwise returns None.
    """
    here, name = Path(os.path.expanduser(named)), os.fspath(named)
    locations = [Location(kind, here)] if (kind := location_kind(here)) else []
    if name not in ("", ".") and not here.is_absolute() and ".." not in here.parts:
        under = Path(os.path.expanduser(output)) / name
        locations += [Location(kind, under)] if (kind := location_kind(under)) else []
    if len(locations) > 1:
        log(f"{one_line(name, 200)}: taken as the path {locations[0].path}; there is {locations[1].path}, too")
    return locations[0] if locations else _only_export(here, log)


def _only_export(folder: Path, log: LogCallback) -> Location | None:
    """Returns the only exported generator in a folder and logs its name; None if there are none or several."""
    found = _exports_in(folder)
    if len(found) != 1:
        return None
    log(f"{folder}: using {found[0].name}, the export in it")
    return Location("export", found[0])


def _exports_in(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if each.is_dir() and location_kind(each) == "export")
    except (OSError, ValueError):  # `folder` is no folder, or not a valid path
        return []


def location_kind(path: Path) -> str | None:
    """Returns the kind of a path, as for `Location`; None if gan-cli wrote nothing there."""
    if path.is_file():
        return "file" if find_card(path) is None else "export"
    if not path.is_dir():
        return None
    if (path / CHECKPOINTS).is_dir():
        return "run"
    if (path / CARD).is_file():
        return "export" if any((path / file).is_file() for file in EXPORTED.values()) else "run"
    if has_checkpoints(path):
        return "checkpoints"
    if is_sweep(path):
        return "sweep"
    return "runs" if runs_in(path) or sweeps_in(path) else None


def find_card(file: Path) -> Path | None:
    """Returns the JSON file that describes an exported generator, or None if `file` is not an exported generator.

    That JSON file is in the same folder, as `<stem>.json` or, for the default file names of exports, `config.json`.
    """
    if file.suffix.removeprefix(".") not in EXPORTED or file.parent.name == CHECKPOINTS:
        return None
    cards = [file.with_suffix(".json"), *([file.with_name(CARD)] if file.name in EXPORTED.values() else [])]
    return next((card for card in cards if card.is_file()), None)


def has_checkpoints(folder: Path) -> bool:
    """Returns True if a folder directly contains checkpoint files."""
    return (folder / LAST).is_file() or any(folder.glob("step_*.safetensors"))


def is_sweep(folder: Path) -> bool:
    """Returns True if the folder is the folder of a sweep."""
    return any((folder / name).is_file() for name in (LEADERBOARD, SWEEP_RECORD)) or any(
        folder.glob(f"*/{JOB_OUTCOME}")
    )


# --- a run ---------------------------------------------------------------------------------------------------------


def find_run(named: str, output: str = OUTPUT, key: str = "resume", log: LogCallback = print_to_stderr) -> Path:
    """Returns the folder of the run that `key=named` means: the newest of a shared name, or that of a checkpoint.

    Raises UsageError if `named` is neither a run nor a checkpoint of a run.
    """
    location, typed = locate(named, output, log), f"{key}={named}"
    if location is None:
        more = ", or auto" if key == "resume" else ""
        raise UsageError(
            f"{typed}: no run there, give a run's folder, a name under {output}{more}{_similar(named, output)}"
        )
    run = newest_run(location.path, log) if location.kind == "runs" else None
    return run or _whole_run(location, typed, key)


def find_checkpoint(
    named: str | os.PathLike[str], key: str, output: str = OUTPUT, log: LogCallback = print_to_stderr
) -> Path:
    """Returns the checkpoint file that `named` names. If it names a run, returns the run's folder of checkpoints.

    `key` is the config key that holds the name, or "eval" for `ckpt` of `gan-eval`; it is used in messages. Raises
    CheckpointError if there is no such file or folder, for a key of `gan-train` UsageError, as `find_run` does.
    """
    location, name = locate(named, output, log), one_line(os.fspath(named), 200)
    of_train = key == "init_from"  # the others are typed without their key too
    typed, refusal = (f"{key}={name}", UsageError) if of_train else (name, CheckpointError)
    if location is None:
        here = Path(os.path.expanduser(named))
        what = "holds no checkpoint" if here.is_dir() else f"no such checkpoint, and no run of this name in {output}"
        if exports := [str(export) for export in _exports_in(here)]:
            raise refusal(f"{typed}: {what}, but {len(exports)} exports: name one, {first_few(exports, MOST_NAMED)}")
        raise refusal(f"{typed}: {what}{_similar(name, output)}")
    if location.kind == "export":
        lacking = LACKING.get(key, "no checkpoint")
        raise refusal(f"{typed}: {AN_EXPORT}, with {lacking}; or give its run or checkpoint")
    run = newest_run(location.path, log) if location.kind == "runs" else location.path
    if run is None or location.kind == "sweep":
        raise refusal(f"{typed}: {_describe_sweep(location.path, 'ckpt' if key == 'eval' else key)}")
    return run if location.kind in ("file", "checkpoints") else run / CHECKPOINTS


def find_run_or_sweep(named: str) -> Path:
    """Returns the folder that `gan-report` or `gan-compare` names: of a shared name the newest run, else sweep.

    Raises UsageError if there is neither.
    """
    location = locate(named)
    if location is None:
        raise UsageError(
            f"{named}: no run there; give a run's folder, a sweep's, or a name under {OUTPUT}{_similar(named, OUTPUT)}"
        )
    if location.kind == "runs":
        found = newest_run(location.path) or next(filter(is_sweep, sweeps_in(location.path)), None)
        if found is None:
            raise UsageError(f"{named}: holds no run and no sweep that has begun")
        return found
    return location.path if location.kind == "sweep" else _whole_run(location, named, "report")


def _whole_run(location: Location, typed: str, key: str) -> Path:
    """Returns the folder of the run at `location`, or of the run that the checkpoint there belongs to.

    Raises UsageError if there is no such run or, for the key `resume`, if the checkpoint is not the newest of its run.
    """
    kind, path = location
    if kind == "run":
        return path
    if kind == "checkpoints" and path.name == CHECKPOINTS:
        return path.parent
    if kind == "export":
        raise UsageError(f"{typed}: {AN_EXPORT}, with {LACKING[key]}")
    if kind in ("sweep", "runs"):
        raise UsageError(f"{typed}: {_describe_sweep(path, 'resume' if key == 'resume' else '')}")
    if kind == "file" and path.absolute().parent.name == CHECKPOINTS:
        last = path.with_name(LAST)
        if key == "resume" and path.name != LAST and not (last.is_file() and os.path.samefile(path, last)):
            raise UsageError(
                f"{typed}: a run goes on at its newest checkpoint, resume={path.parent.parent}; a new one"
                f" starts from this by init_from={path}"
            )
        return path.parent.parent
    more = f"; a new run starts from its networks by init_from={path}" if path.suffix == ".safetensors" else ""
    raise UsageError(f"{typed}: is not in a run's folder{more}")


def newest_run(folder: Path, log: LogCallback = print_to_stderr) -> Path | None:
    """Returns the newest run in the folder `outputs/<name>`, with a checkpoint if one has any; None without runs.

    Logs the run if there was a choice, the newer runs that were skipped, and a warning if the run did not end well.
    """
    from gan_cli.storage.run_record import load_record  # its models take 15 ms, which --help need not wait for

    runs = runs_in(folder)
    with_checkpoint = [run for run in runs if has_checkpoints(run / CHECKPOINTS)]
    taken = next(iter(with_checkpoint or runs), None)
    if taken is None:
        return None
    passed, before = runs[: runs.index(taken)], with_checkpoint[1:]
    if passed:
        log(
            f"{folder}: using {taken.name}; without a checkpoint: {first_few([run.name for run in passed], MOST_NAMED)}"
        )
    status = load_record(taken).status
    if status in FAILED:
        sound = next((run for run in before if load_record(run).status not in FAILED), None)
        steps = sorted(path.stem for path in (taken / CHECKPOINTS).glob("step_*.safetensors"))
        newest = f", and its newest checkpoint is {steps[-1]}" if steps else ""
        other = f"; the one before it: {sound}" if sound else ""
        log(f"warning: {folder}: its newest run, {taken.name}, {status}{newest}{other}")
    elif before and not passed:
        log(f"{folder}: using {taken.name}, the newest of {count_noun(len(runs), 'run')}")
    return taken


def resolve_path(path: str) -> Path:
    """Returns the absolute path without links. A text that is no path of this system is returned as it is."""
    try:
        return Path(os.path.expanduser(path)).resolve()
    except (OSError, ValueError, RuntimeError):
        return Path(path)


def is_standard_folder(folder: str) -> bool:
    """Returns whether a folder is inside the current folder or gan-cli's own cache, where data are written."""
    return any(resolve_path(folder).is_relative_to(resolve_path(each)) for each in (".", OWN_CACHE))


# --- messages -----------------------------------------------------------------------------------------------------


def _describe_sweep(path: Path, key: str) -> str:
    """Returns the end of a message for a user who named a sweep where a run is needed: how to name one of its runs."""
    folder = path if is_sweep(path) else next(iter(sweeps_in(path)), path)
    runs = [run for run in folder.iterdir() if JOB_FOLDER.fullmatch(run.name) and (run / RECORD).is_file()]
    runs.sort(key=lambda run: [int(part) for part in run.name.split("-")])
    if not runs:
        return "a sweep, of which no job has begun a run"
    named = [f"{key}={run}" if key else str(run) for run in runs]
    return f"a sweep; name one of its runs: {first_few(named, MOST_NAMED)}"


def _similar(named: str, output: str) -> str:
    """Returns ` (did you mean 'x'?)` with the most similar name in `output`, or an empty text if no name is similar."""
    try:
        names = [path.name for path in Path(os.path.expanduser(output)).iterdir() if path.is_dir()]
    except OSError:
        return ""
    return did_you_mean(Path(named).name, names)
