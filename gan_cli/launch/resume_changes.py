"""The keys that a run may change on resume, and the overrides of a command that resumes a run. Imports no torch."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.types import Override

from gan_cli.config import train_config
from gan_cli.config.compose import compose_default
from gan_cli.config.overrides import format_path_list, override_value, quote_literals, read_override
from gan_cli.config.schema import format_value
from gan_cli.errors import UsageError, one_line
from gan_cli.storage.locate import find_run
from gan_cli.storage.run_folder import read_record

# Where and how the data of a run are found. A fingerprint checks that the data are the same.
DATA_LOCATION_KEYS = tuple(f"dataset.{leaf}" for leaf in ("path", "root", "labels", "cache", "download", "on_bad"))
LEARNING_RATE_KEYS = ("optimizer.lr", "optimizer.generator.lr", "optimizer.discriminator.lr")
CHANGEABLE_SETTINGS = (
    "batch_size",
    "training.accumulate",
    "threads",
    *LEARNING_RATE_KEYS,
)  # each change is recorded with its step


class ResumeOverrides(NamedTuple):
    """The overrides for a command that resumes a run, and the keys among them that the user did not type."""

    overrides: list[str]
    added: tuple[str, ...] = ()


def may_change(dotted: str) -> bool:
    """Whether a dotted key may change on resume."""
    return train_config.is_run_control(dotted) or dotted in CHANGEABLE_SETTINGS or dotted in DATA_LOCATION_KEYS


def overrides_for_resume(overrides: Sequence[str]) -> ResumeOverrides | None:
    """The overrides for the run that they name by `resume=`; None if they name none, or with dry_run=true."""
    given = {override.key_or_group: override for override in map(read_override, overrides)}
    where = override_value(given["resume"]) if "resume" in given else None
    if not isinstance(where, str) or where == "auto" or ("dry_run" in given and given["dry_run"].value()):
        return None
    output = override_value(given["output"]) if "output" in given else compose_default("train")["output"]
    folder = find_run(where, str(output), log=lambda line: None)  # no message here: resuming the run prints it
    return changed_overrides(overrides, folder, read_record(folder))


def changed_overrides(overrides: Sequence[str], folder: Path, record: Mapping[str, Any]) -> ResumeOverrides:
    """The overrides of `resume=<folder>` without those that the run has already, with the run's own data set.

    `record` is the run's record. Raises UsageError for a key that may not change, with the command of a new run.
    """
    known = record.get("config")
    has = dict(train_config.flatten(known)) if isinstance(known, dict) else {}
    changed: list[str] = []
    for line in overrides:
        override = read_override(line)
        dotted = override.key_or_group.replace("/", ".")
        if may_change(dotted) or override.is_sweep_override() or dotted.startswith("hydra."):
            changed.append(line)
        elif not _is_unchanged(override, dotted, has):
            raise _cannot_change(dotted, override, has, folder)
    name = has.get("dataset.name")
    if name is None or not any(line.startswith("dataset.") for line in changed):
        return ResumeOverrides(changed)
    return ResumeOverrides([quote_literals(f"dataset={name}"), *changed], ("dataset",))


def _is_unchanged(override: Override, dotted: str, has: Mapping[str, Any]) -> bool:
    """Whether the run has this value of the key, or this option of the group, already."""
    if override.is_add() or override.is_delete() or override.is_force_add():
        return False
    value = override_value(override)
    for key in (dotted, f"{dotted}.name"):
        if key in has:
            return bool(has[key] == value) or _texts(has[key]) == _texts(value)
    return False


def _texts(value: Any) -> Any:
    """A value, or each of a list, as text, so that quoted and unquoted values are equal."""
    return [*map(_texts, value)] if isinstance(value, list | tuple) else str(value)


def _cannot_change(dotted: str, override: Override, has: Mapping[str, Any], folder: Path) -> UsageError:
    """The error for a key that may not change; it names those that may and the command of a new run."""
    allowed = ", ".join(
        key for key in (*train_config.RUN_CONTROL, *CHANGEABLE_SETTINGS[:3], "optimizer.lr") if key != "resume"
    )
    value = has.get(dotted, has.get(f"{dotted}.name"))
    now = f" ({one_line(format_value(value), 60)} there)" if dotted in has or f"{dotted}.name" in has else ""
    return UsageError(
        f"{dotted}: cannot change on resume={one_line(folder, 200)}{now}, only {allowed} and *_every; a new run with"
        f" its weights may: {new_run_override(folder)}{_data_of(has, dotted)} {one_line(override.input_line, 80)}"
    )


def _data_of(has: Mapping[str, Any], dotted: str) -> str:
    """The overrides that choose the run's data set, as they are typed; empty if the user chose another one."""
    named = {"dataset": has.get("dataset.name"), "dataset.path": has.get("dataset.path")}
    typed = [
        f"{key}={value if isinstance(value, str) else format_path_list(value)}"
        for key, value in named.items()
        if isinstance(value, str | list)
    ]
    return "" if dotted == "dataset" or not typed else f" {shlex.join(typed)}"


def new_run_override(folder: Path) -> str:
    """The override that starts a new run with the networks and weights of this one, quoted for a shell."""
    return shlex.quote(f"init_from={folder}")


def changed_keys(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By key, the recorded settings in which two configs of one run differ, as {"from": old, "to": new}."""
    old, new = dict(train_config.flatten(before)), dict(train_config.flatten(now))
    keys = [key for key in new if key in (*CHANGEABLE_SETTINGS, *DATA_LOCATION_KEYS) and key != "dataset.cache"]
    return {
        key: {"from": old.get(key), "to": new[key]}
        for key in keys
        if not train_config.is_same_value(key, new[key], old.get(key))
    }


def recorded_changes(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The changes of each resume in a run's record, oldest first, by key; a resume without changes is left out."""
    resumed = record.get("resumed")
    for entry in resumed if isinstance(resumed, list) else ():
        changed = entry.get("changed") if isinstance(entry, dict) else None
        if isinstance(changed, dict) and changed:
            yield {str(key): change for key, change in changed.items() if isinstance(change, dict)}


def initial_values(record: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a run started with, of the keys that were changed since."""
    begun: dict[str, Any] = {}
    for changed in recorded_changes(record):
        for key, change in changed.items():
            begun.setdefault(key, change.get("from"))
    return begun
