"""What a resumed or replayed run has of another: the ends that one with a budget recorded, and where it was run."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from gan_cli import __version__
from gan_cli.config import train_config
from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Dataset
from gan_cli.data.reach import reachable
from gan_cli.device import describe_device
from gan_cli.errors import UsageError, one_line
from gan_cli.launch.changes import changes_in
from gan_cli.launch.equal_run import typed_first, with_recipe_of
from gan_cli.launch.fine_tune import brought_by_base
from gan_cli.runs.log import AFTER_STEP, Position, RunLog, read_ends
from gan_cli.state.checkpoint import Provenance
from gan_cli.state.train_state import Counters
from gan_cli.storage.links import without_link
from gan_cli.storage.locate import Say, find_run, tell
from gan_cli.storage.run_folder import BUDGET, RECORD, read_record, started_in
from gan_cli.training.run import Run

KEPT = "replay.jsonl"  # a copy, so that a replay needs no more than its own folder to be resumed


def as_replayed(config: Config, named: Sequence[str], overrides: Sequence[str] | None) -> Config:
    """The config of a replay with what the run settled: its recipe, precision and threads.

    UsageError if the run recorded no end, or for a key that would make it another run.
    """
    if config.replay is None:
        return config
    folder = _ends_file(config).parent
    if any(changes_in(read_record(folder))):
        raise UsageError(f"replay={config.replay}: the run was changed when it went on, which a replay cannot repeat")
    try:
        saved = train_config.read(read_record(folder).get("config"))  # type: ignore[arg-type]
    except UsageError as error:
        raise UsageError(f"replay={config.replay}: its {RECORD} cannot be used ({error})") from error
    typed = config.budget if "budget" in named or not named else None
    config = dataclasses.replace(with_recipe_of(saved, config, overrides), budget=None)
    saved = dataclasses.replace(saved, replay=config.replay)
    there = dataclasses.replace(saved, dataset=reachable(saved.dataset, started_in(folder)))
    differing = min((train_config.differences(config, each) for each in (saved, there)), key=len)
    if config.init_from is not None:  # which brought these along
        differing = [text for text in differing if not brought_by_base(text, overrides)]
    if typed is not None and saved.budget is not None and typed != saved.budget:
        differing.append(f"budget={typed} (was {saved.budget})")
    if differing:
        shown = typed_first(differing, overrides)
        raise UsageError(f"replay={config.replay}: would be another run by {shown}; give the same keys")
    config = train_config.with_data_settled(config, saved)
    return dataclasses.replace(config, **{key: getattr(saved, key) for key in train_config.AUTO})


def _ends_file(config: Config, say: Say = tell) -> Path:
    path = find_run(str(config.replay), config.output, "replay", say) / BUDGET
    if not _ends_in(path):
        raise UsageError(f"replay={config.replay}: the run had no budget, or ended before its steps were known")
    return path


def find_ends(config: Config, dataset: Dataset) -> Path | None:
    """Where the run that `replay` names recorded its ends; UsageError if it has none, or had other data."""
    if config.replay is None:
        return None
    path = _ends_file(config, lambda line: None)  # it was said before
    data = read_record(path.parent).get("data")
    if isinstance(data, dict) and data.get("fingerprint") != dataset.fingerprint:
        raise UsageError(f"replay={config.replay}: the data are not those of the run ({dataset.source}); put them back")
    return path


def keep_ends(found: Path | None, folder: Path) -> None:
    if found is not None:
        shutil.copyfile(found, without_link(folder / KEPT))


def kept_ends(config: Config, folder: Path) -> dict[Position, int | None]:
    """The end by where it is settled; none unless the run is a replay."""
    return {} if config.replay is None else _ends_in(folder / KEPT)


def _ends_in(path: Path) -> dict[Position, int | None]:
    """The end by where it is settled; None where a run that went on had none, until it was measured anew."""
    recorded = sorted(read_ends(path).items())
    found: dict[Position, int | None] = {}
    before: int | None = None
    for position, end in recorded:
        if before is not None and before < position[0]:  # it went on, in a version that did not record that
            found[before, AFTER_STEP] = None
        found[position] = before = end
    while found and found[max(found)] is None:
        del found[max(found)]
    return found


def begin(run: Run) -> None:
    """The end that a replayed run had from its first step on, if it had one."""
    end = run.ends.get((0, AFTER_STEP))
    if end is not None:
        run.state.counters.total_steps = end
        run.log.end(0, end, 0.0)


def record_new_end(saved: Counters, end: int | None, seconds: float, folder: Path, log: RunLog) -> None:
    """What a replay needs of a run that is resumed to another end: that of before, and from where on it is this one."""
    recorded = read_ends(folder / BUDGET)
    last = recorded[max(recorded)] if recorded else saved.total_steps
    if last == end:
        return
    if not recorded:
        log.end(0, saved.total_steps, 0.0)
    log.end(saved.step, end, seconds, saved.d_updates)


def tell_drift(saved: Provenance, device: torch.device, log: RunLog) -> None:
    """What differs from the machine the checkpoint was made on, and can change the last bits."""
    now = {"gan_cli": __version__, "torch": torch.__version__, "device": describe_device(device)}
    for key, value in now.items():
        before = getattr(saved, key)
        if before != value:
            log.say(f"warning: {key} was {one_line(before, 60)}, is {value}: results may differ in their last bits")
