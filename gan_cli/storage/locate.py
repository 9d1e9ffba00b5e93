"""What a person names: a run or its name, a sweep, a checkpoint, an export. One rule for every command.

A path is taken first, then a name under the folder of outputs. What was taken is said on standard error where there
was a choice. Imports no torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gan_cli.errors import CheckpointError, UsageError, closest, counted, few, one_line
from gan_cli.storage.run_folder import (
    A_JOBS,
    BOARD,
    CHECKPOINTS,
    LAST,
    OUTCOME,
    RECORD,
    SWEEP,
    read_record,
    runs_in,
    sweeps_in,
)

OUTPUT = "outputs"  # where names are looked for by commands that have no key for it
CARD = RECORD  # beside an exported generator
EXPORTED = {"safetensors": "model.safetensors", "onnx": "model.onnx", "pt2": "model.pt2"}
FAILED = ("diverged", "collapsed", "failed")  # how a run may have ended
MOST_NAMED = 5
AN_EXPORT = "is an exported generator alone"
# What an export has not, by the key that would need it.
LACKING = {
    "resume": "no discriminator and no optimizers to go on with",
    "replay": "no record of a run to repeat",
    "init_from": "no discriminator to start from",
    "eval": "no record of its data to compare with; make samples of it by gan-sample format=images, and judge them by"
    " gan-eval real=FOLDER fake=FOLDER",
    "report": "no record of a run to show",
}
Say = Callable[[str], None]


class Place(NamedTuple):
    """`kind` is run, checkpoints (a folder of their files), runs (of a name), sweep, export, or file."""

    kind: str
    path: Path


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def locate(named: str | os.PathLike[str], output: str = OUTPUT, say: Say = tell) -> Place | None:
    """What is at a path, else at this name under `output`; None if neither is anything of ours."""
    here, name = Path(os.path.expanduser(named)), os.fspath(named)
    places = [Place(kind, here)] if (kind := kind_of(here)) else []
    if name not in ("", ".") and not here.is_absolute() and ".." not in here.parts:
        under = Path(os.path.expanduser(output)) / name
        places += [Place(kind, under)] if (kind := kind_of(under)) else []
    if len(places) > 1:
        say(f"{one_line(name, 200)}: taken as the path {places[0].path}; there is {places[1].path}, too")
    return places[0] if places else _only_export(here, say)


def _only_export(folder: Path, say: Say) -> Place | None:
    """The one export in a folder that `gan-export out=` was given; None if it holds none, or several."""
    found = _exports_in(folder)
    if len(found) != 1:
        return None
    say(f"{folder}: using {found[0].name}, the export in it")
    return Place("export", found[0])


def _exports_in(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if each.is_dir() and kind_of(each) == "export")
    except (OSError, ValueError):  # no folder, or no name that one could have
        return []


def kind_of(path: Path) -> str | None:
    """As `Place.kind`; None for what is not there, and for a folder that holds nothing of ours."""
    if path.is_file():
        return "file" if card_of(path) is None else "export"
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


def card_of(file: Path) -> Path | None:
    """The card of an exported file: `<stem>.json` beside it, or `config.json` in its folder."""
    if file.suffix.removeprefix(".") not in EXPORTED or file.parent.name == CHECKPOINTS:
        return None
    cards = [file.with_suffix(".json"), *([file.with_name(CARD)] if file.name in EXPORTED.values() else [])]
    return next((card for card in cards if card.is_file()), None)


def has_checkpoints(folder: Path) -> bool:
    return (folder / LAST).is_file() or any(folder.glob("step_*.safetensors"))


def is_sweep(folder: Path) -> bool:
    """Whether a sweep left this folder."""
    return any((folder / name).is_file() for name in (BOARD, SWEEP)) or any(folder.glob(f"*/{OUTCOME}"))


# --- a run ---------------------------------------------------------------------------------------------------------


def find_run(named: str, output: str = OUTPUT, key: str = "resume", say: Say = tell) -> Path:
    """The folder of the run that `resume=` or another key names; UsageError, with what to give, if it names none."""
    place, typed = locate(named, output, say), f"{key}={named}"
    if place is None:
        more = ", or auto" if key == "resume" else ""
        raise UsageError(
            f"{typed}: no run there, give a run's folder, a name under {output}{more}{near(named, output)}"
        )
    if place.kind == "runs":
        run = newest_run(place.path, say)
        if run is not None:
            return run
    return _whole_run(place, typed, key)


def find_checkpoint(named: str | os.PathLike[str], key: str, output: str = OUTPUT, say: Say = tell) -> Path:
    """The file that is named, or the folder of checkpoints of a run; CheckpointError for what has none.

    `key` is what names it, `eval` for that of `gan-eval`.
    """
    place, typed = locate(named, output, say), one_line(os.fspath(named), 200)
    if place is None:
        there = Path(os.path.expanduser(named)).is_dir()
        what = "holds no checkpoint" if there else f"no such checkpoint, and no run of this name in {output}"
        exports = _exports_in(Path(os.path.expanduser(named)))
        if exports:
            raise CheckpointError(
                f"{typed}: {what}, but {len(exports)} exports: name one, {few([*map(str, exports)], MOST_NAMED)}"
            )
        raise CheckpointError(f"{typed}: {what}{near(typed, output)}")
    if place.kind == "export":
        lacking = LACKING.get(key, "no checkpoint")
        raise CheckpointError(f"{typed}: {AN_EXPORT}, with {lacking}; or give its run or checkpoint")
    run = newest_run(place.path, say) if place.kind == "runs" else place.path
    if run is None or place.kind == "sweep":
        raise CheckpointError(f"{typed}: {what_sweep(place.path, 'ckpt' if key == 'eval' else key)}")
    return run if place.kind in ("file", "checkpoints") else run / CHECKPOINTS


def find_run_or_sweep(named: str, say: Say = tell) -> Path:
    """The folder that a word of `gan-report` or `gan-compare` names; of a name the newest run, else newest sweep."""
    place = locate(named, say=say)
    if place is None:
        raise UsageError(
            f"{named}: no run there; give a run's folder, a sweep's, or a name under {OUTPUT}{near(named, OUTPUT)}"
        )
    if place.kind == "runs":
        found = newest_run(place.path, say) or next(filter(is_sweep, sweeps_in(place.path)), None)
        if found is None:
            raise UsageError(f"{named}: holds no run and no sweep that has begun")
        return found
    return place.path if place.kind == "sweep" else _whole_run(place, named, "report")


def _whole_run(place: Place, typed: str, key: str) -> Path:
    """The run that a place is, or that a checkpoint is in; UsageError for what is no run, or goes on elsewhere."""
    kind, path = place
    if kind == "run":
        return path
    if kind == "checkpoints" and path.name == CHECKPOINTS:
        return path.parent
    if kind == "export":
        raise UsageError(f"{typed}: {AN_EXPORT}, with {LACKING[key]}")
    if kind in ("sweep", "runs"):
        raise UsageError(f"{typed}: {what_sweep(path, 'resume' if key == 'resume' else '')}")
    if kind == "file" and path.absolute().parent.name == CHECKPOINTS:
        if key == "resume" and not _is_newest(path):
            raise UsageError(
                f"{typed}: a run goes on at its newest checkpoint, resume={path.parent.parent}; a new one"
                f" starts from this by init_from={path}"
            )
        return path.parent.parent
    more = f"; a new run starts from its networks by init_from={path}" if path.suffix == ".safetensors" else ""
    raise UsageError(f"{typed}: is not in a run's folder{more}")


def _is_newest(file: Path) -> bool:
    last = file.with_name(LAST)
    return file.name == LAST or (last.is_file() and os.path.samefile(file, last))


def newest_run(folder: Path, say: Say = tell) -> Path | None:
    """The newest run in `outputs/<name>` that holds a checkpoint, else the newest; None of none.

    What was passed over is said, and one that did not end well.
    """
    runs = runs_in(folder)
    kept = [run for run in runs if has_checkpoints(run / CHECKPOINTS)]
    taken = next(iter(kept or runs), None)
    if taken is None:
        return None
    passed, before = runs[: runs.index(taken)], kept[1:]
    if passed:
        say(f"{folder}: using {taken.name}; without a checkpoint: {few([run.name for run in passed], MOST_NAMED)}")
    status = _ended(taken)
    if status in FAILED:
        sound = next((run for run in before if _ended(run) not in FAILED), None)
        other = f"; the one before it: {sound}" if sound else ""
        say(f"warning: {folder}: its newest run, {taken.name}, {status}{_left_at(taken)}{other}")
    elif before and not passed:
        say(f"{folder}: using {taken.name}, the newest of {counted(len(runs), 'run')}")
    return taken


def _ended(run: Path) -> str | None:
    ended = read_record(run).get("ended")
    return str(ended.get("status")) if isinstance(ended, dict) else None


def _left_at(run: Path) -> str:
    steps = sorted((path.stem for path in (run / CHECKPOINTS).glob("step_*.safetensors")), key=lambda stem: stem[5:])
    return f", and its newest checkpoint is {steps[-1]}" if steps else ""


# --- what is said of the rest -------------------------------------------------------------------------------------


def what_sweep(path: Path, key: str) -> str:
    """That a sweep is many runs, and how one of them is named."""
    folder = path if is_sweep(path) else next(iter(sweeps_in(path)), path)
    runs = [run for run in folder.iterdir() if A_JOBS.fullmatch(run.name) and (run / RECORD).is_file()]
    runs.sort(key=lambda run: [int(part) for part in run.name.split("-")])
    if not runs:
        return "a sweep, of which no job has begun a run"
    before = f"{key}=" if key else ""
    return f"a sweep; name one of its runs: {few([f'{before}{run}' for run in runs], MOST_NAMED)}"


def near(named: str, output: str) -> str:
    """` (did you mean 'x'?)`, of the names under `output`."""
    try:
        names = [path.name for path in Path(os.path.expanduser(output)).iterdir() if path.is_dir()]
    except OSError:
        return ""
    return closest(Path(named).name, names)
