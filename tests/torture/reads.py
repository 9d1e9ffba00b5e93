"""Errors of reads: files and folders that cannot be read, once or for ever, and files that end while they are read."""

from __future__ import annotations

import errno
import json
import marshal
import os
from dataclasses import dataclass
from pathlib import Path

from torture.hostile.pictures import make_healthy
from torture.inputs import (
    CACHED,
    EVAL,
    PICTURES,
    SWEEP,
    Input,
    cache_everything,
    make_evaluation_cache,
    make_export,
    make_image_cache,
    make_sweep,
    make_two_runs,
)
from torture.read_shim import Read, ReadShim, ending, noting, unreadable
from torture.scenarios import SCENARIOS, copy_run
from torture.verify import State, differences, state_of, stray_files
from torture.worker import Ended, Trial

INPUTS = {
    "resume": Input("train", ("resume=run", *SCENARIOS["resume"].arguments[1:]), copy_run),
    "grid": Input("sample", ("run", "n=4"), copy_run),
    "eval": Input("eval", (*EVAL, "extractor=pixels"), copy_run),
    "pictures": Input(
        "train", (*PICTURES, "dataset.path=pictures", "dataset.labels=labels.csv"), lambda trial: make_labels(trial)
    ),
    "export": Input("export", ("run",), copy_run),
    "step": Input("train", ("resume=run", "steps=3"), copy_run),
    "sweep": Input("train", SWEEP, make_sweep),
    "report": Input("report", ("run",), copy_run),
    "archive": Input("train", (*PICTURES, "dataset.path=pictures.zip"), lambda trial: make_healthy(trial.here)),
    "compare": Input("compare", ("run", "other"), make_two_runs),
    "cached": Input("train", CACHED, make_image_cache),
    "exported": Input("sample", ("export", "n=4"), make_export),
    "sweep report": Input("report", ("sweep",), make_sweep),
    "classifier": Input("eval", (*EVAL, "extractor=classifier"), make_evaluation_cache),
}
CODES = (0, 2, 3, 5)
NUMBERS = (errno.EIO, errno.EIO, errno.ESTALE, errno.EACCES)
WAYS = ("for ever", "once", "ends early")
NOT_COMPARED = (".damaged", ".lock", ".csv")
NO_COMPARISON = ("sweep report", "compare")  # which print only, or replace what is not compared


@dataclass(frozen=True)
class Healthy:
    """What a command reads when nothing goes wrong, and what it leaves."""

    reads: list[Read]
    state: State


def failing_read(trial: Trial) -> None:
    """Lets a random read of a command fail, or end early. Then the same command must do what it does without errors.

    The failed command must end with one line that names a path, or succeed without the file, and destroy nothing.
    """
    name = [*INPUTS][trial.index % len(INPUTS)]
    given = INPUTS[name]
    healthy = trial.bench.once(("reads", name), lambda shared: _record(shared, given))
    way = WAYS[trial.index // len(INPUTS) % len(WAYS)]
    calls = [n for n, read in enumerate(healthy.reads, 1) if way != "ends early" or read.name == "read"]
    call, number = trial.random.choice(calls), trial.random.choice(NUMBERS)
    read = healthy.reads[call - 1]
    trial.note = f"{name}, {way if way == 'ends early' else f'{os.strerror(number)} {way}'} at {read.name} {read.path}"
    given.make(trial)
    records = _records(trial)
    path = _path_here(trial, read.path)
    act = ending(call, path) if way == "ends early" else unreadable(call, path, number, way == "for ever")

    def before() -> None:
        cache_everything()
        ReadShim(trial.folder, act).install()

    ended = trial.run(given.command, *given.arguments, before=before)
    _check_end(trial, ended, path)
    for record in records:
        if not {"config", "command"} <= _load(record).keys():
            trial.fault("lost", f"{record.relative_to(trial.here)}: lost its config and its command")
    again = trial.run(given.command, *given.arguments, before=cache_everything)
    if again.code:
        trial.fault("wrong", f"the same command again: exit code {again.code}, {again.last_line}")
    found = _left(trial)
    expected = healthy.state
    if "cannot be read and left out" in ended.output:  # a frame of the animation
        found, expected = ({**state, "run/progress.webp": None} for state in (found, expected))
    if "is damaged and was renamed" in ended.output:  # it goes on from an older one, on the rates of the new end
        last = "run/checkpoints/last.safetensors"
        if found.get(last, ())[1:] != expected[last][1:]:
            trial.fault("lost", f"{last}: is {found.get(last)}, not at the same step as {expected[last]}")
    elif (ended.code and name not in NO_COMPARISON) or name == "resume":
        faults = differences(found, expected, older=False)
        said = () if "lacks" not in ended.output else ("metrics.jsonl",)  # lines of it
        trial.faults += [each for each in faults if not each.text.partition(":")[0].endswith((*NOT_COMPARED, *said))]
    trial.faults += stray_files(trial.folder)


def make_labels(trial: Trial) -> None:
    """Makes pictures with a table of labels."""
    folder = make_healthy(trial.here)
    lines = [f"{path.name},{'ab'[int(path.stem) % 2]}" for path in sorted(folder.iterdir())]
    (trial.here / "labels.csv").write_text("\n".join(["file,label", *lines]) + "\n")


def _record(shared: Trial, given: Input) -> Healthy:
    given.make(shared)
    log, reads = shared.folder / "reads", list[Read]()

    def before() -> None:
        cache_everything()
        ReadShim(shared.folder, noting(reads)).install()

    def command() -> int:
        from gan_cli.cli.main import run_command

        code = run_command(given.command, list(given.arguments))
        log.write_bytes(marshal.dumps([tuple(read) for read in reads]))
        return code

    ended = shared.call(command, before)
    if ended.code:
        raise RuntimeError(f"gan-{given.command}: {ended.last_line}")
    read = [Read(*each) for each in marshal.loads(log.read_bytes())]
    return Healthy([each for each in read if each.path != "reads"], _left(shared))


def _path_here(trial: Trial, path: str) -> str:
    """Returns the path in this trial of a file of another, whose folder names have another time in them."""
    if (trial.folder / path).exists():
        return path
    parts = Path(path).parts
    found = [each for each in trial.folder.rglob(parts[-1]) if len(each.relative_to(trial.folder).parts) == len(parts)]
    return str(found[0].relative_to(trial.folder)) if found else path


def _left(trial: Trial) -> State:
    """Returns the state of what the commands of a trial have made; folders of runs named without their time."""
    states: State = {}
    for folder in sorted(path for path in (trial.here / "outputs").glob("*/*") if path.is_dir()):
        states = {f"outputs/{path}": value for path, value in state_of(folder).items()}  # the newest counts
    run = trial.here / "run"
    return states | ({f"run/{path}": value for path, value in state_of(run).items()} if run.exists() else {})


def _records(trial: Trial) -> list[Path]:
    return [path for path in trial.here.rglob("config.json") if path.parent.name != "export"]


def _load(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _check_end(trial: Trial, ended: Ended, path: str) -> None:
    """Checks the exit code, and that one line names a path: one that is there, or a part of what was read."""
    if ended.code not in CODES:
        trial.fault("wrong", f"exit code {ended.code}: {ended.last_line}")
    lines = [line for line in ended.error.splitlines() if line and not line.startswith(("warning:", "using "))]
    if ended.code and len(lines) != 1:
        trial.fault("wrong", f"not one line of error: {ended.error[-300:]!r}")
    words = [word.strip("'\":,;()").rpartition("=")[2] for word in ended.last_line.split()[1:]]
    parts = {*Path(path).parts} - {trial.here.name}
    if ended.code and not any("/" in word or word in parts or (trial.here / word).exists() for word in words if word):
        trial.fault("wrong", f"names no path: {ended.last_line}")
