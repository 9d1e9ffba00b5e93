"""`replay=RUN`: repeats a run that had a time budget, with the numbers of steps that the run recorded.

A run with a time budget estimates its number of steps from the speed of the machine. It records each estimate (called
an "end") together with the step at which the estimate was made. A replay uses the recorded ends instead of the clock.
This module also contains what a resumed run records so that it can be replayed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from gan_cli.config import train_config
from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Dataset
from gan_cli.data.moved_data import resolve_data_paths
from gan_cli.errors import UsageError
from gan_cli.launch.find_same_run import typed_differences, typed_keys_first, with_recipe_of_run
from gan_cli.runs.log import AFTER_STEP, Position, RunLog, read_planned_ends
from gan_cli.state.train_state import Counters
from gan_cli.storage.locate import LogCallback, find_run, print_to_stderr
from gan_cli.storage.run_folder import BUDGET, RECORD
from gan_cli.storage.run_record import load_record, start_folder

ENDS_COPY = "replay.jsonl"  # a copy of the ends, so that a replay can be resumed without the other run's folder


def apply_replay(config: Config, named: Sequence[str], overrides: Sequence[str] | None) -> Config:
    """Returns the config of a replay with the settings that the original run chose by itself.

    These are the recipe, the precision, the number of threads and some settings of the data. `named` are the keys that
    the user gave. Raises UsageError if the original run cannot be replayed, because it recorded no end or was changed
    on resume, or if a key has another value in that run.
    """
    folder = _ends_file(config).parent
    record = load_record(folder)
    if any(resume.changed for resume in record.resumed):
        raise UsageError(f"replay={config.replay}: settings of the run were changed on resume, a replay cannot do that")
    try:
        saved = train_config.parse_unvalidated(record.config)
    except UsageError as error:
        raise UsageError(f"replay={config.replay}: its {RECORD} cannot be used ({error})") from error
    typed = config.budget if "budget" in named or not named else None
    config = dataclasses.replace(with_recipe_of_run(saved, config, overrides), budget=None)
    saved = dataclasses.replace(saved, replay=config.replay)
    there = dataclasses.replace(saved, dataset=resolve_data_paths(saved.dataset, start_folder(folder)))
    differing = min((typed_differences(config, each, overrides) for each in (saved, there)), key=len)
    if typed is not None and saved.budget is not None and typed != saved.budget:
        differing["budget"] = f"budget={typed} (was {saved.budget})"
    if differing:
        shown = typed_keys_first(differing, overrides)
        raise UsageError(f"replay={config.replay}: differs from that run in {shown}; give the same keys")
    config = train_config.adopt_data_settings(config, saved)
    return dataclasses.replace(config, **{key: getattr(saved, key) for key in train_config.AUTO_KEYS})


def _ends_file(config: Config, log: LogCallback = print_to_stderr) -> Path:
    path = find_run(str(config.replay), config.output, "replay", log) / BUDGET
    if not _ends_in(path):
        raise UsageError(f"replay={config.replay}: the run had no budget, or ended before its steps were known")
    return path


def find_replayed_ends(config: Config, dataset: Dataset) -> Path | None:
    """Returns the file in which the original run recorded its ends, None if the config is no replay.

    Raises UsageError if there is no such file, or if the original run had other data.
    """
    if config.replay is None:
        return None
    path = _ends_file(config, lambda line: None)  # the message was printed before
    if load_record(path.parent).fingerprint not in (None, dataset.fingerprint):
        raise UsageError(f"replay={config.replay}: the data are not those of the run ({dataset.source}); restore them")
    return path


def read_replayed_ends(config: Config, folder: Path) -> dict[Position, int | None]:
    """Returns the recorded ends by the position in training at which each takes effect; none if it is no replay."""
    return {} if config.replay is None else _ends_in(folder / ENDS_COPY)


def _ends_in(path: Path) -> dict[Position, int | None]:
    """Returns the ends in this file, by position; None where a resumed run has not estimated its end yet."""
    recorded = sorted(read_planned_ends(path).items())
    found: dict[Position, int | None] = {}
    previous: int | None = None
    for position, end in recorded:
        if previous is not None and previous < position[0]:  # the run was resumed by a version that did not record this
            found[previous, AFTER_STEP] = None
        found[position] = previous = end
    while found and found[max(found)] is None:
        del found[max(found)]
    return found


def record_new_end(saved: Counters, end: int | None, seconds: float, folder: Path, log: RunLog) -> None:
    """Records the new end of a resumed run, if it differs from the last recorded end, so that the run can be replayed.

    `saved` are the counters of its checkpoint, and `seconds` is the training time so far.
    """
    recorded = read_planned_ends(folder / BUDGET)
    last = recorded[max(recorded)] if recorded else saved.total_steps
    if last == end:
        return
    if not recorded:
        log.planned_end(0, saved.total_steps, 0.0)
    log.planned_end(saved.step, end, seconds, saved.d_updates)
