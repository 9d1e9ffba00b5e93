"""What a run may change when it goes on, and how a command on resuming is read: by the run's own config. No torch."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.types import Override

from gan_cli.config import train_config
from gan_cli.config.compose import compose_default
from gan_cli.config.overrides import quote_literals, read_override, typed_paths, value_of
from gan_cli.config.schema import shown
from gan_cli.errors import UsageError, one_line
from gan_cli.storage.locate import find_run
from gan_cli.storage.run_folder import read_record

# Where and how the data of a run are found; that they are the same is seen by their fingerprint.
PLACES = tuple(f"dataset.{leaf}" for leaf in ("path", "root", "labels", "cache", "download", "on_bad"))
RATES = ("optimizer.lr", "optimizer.generator.lr", "optimizer.discriminator.lr")
SETTINGS = ("batch_size", "training.accumulate", "threads", *RATES)  # each change is recorded with its step


class Asked(NamedTuple):
    """Overrides for a command that goes on with a run, and the keys of `overrides` that nobody typed."""

    overrides: list[str]
    added: tuple[str, ...] = ()


def may_change(dotted: str) -> bool:
    return train_config.is_run_control(dotted) or dotted in SETTINGS or dotted in PLACES


def on_resuming(overrides: Sequence[str]) -> Asked | None:
    """The overrides as the run that they name by `resume=` takes them; None if they name none, or only show one."""
    given = {override.key_or_group: override for override in map(read_override, overrides)}
    where = value_of(given["resume"]) if "resume" in given else None
    if not isinstance(where, str) or where == "auto" or ("dry_run" in given and given["dry_run"].value()):
        return None
    output = value_of(given["output"]) if "output" in given else compose_default("train")["output"]
    folder = find_run(where, str(output), say=lambda line: None)  # it is said when it goes on
    return asked_of(overrides, folder, read_record(folder))


def asked_of(overrides: Sequence[str], folder: Path, record: Mapping[str, Any]) -> Asked:
    """The overrides of `resume=<folder>` without those that say what is so already, on the run's own data set.

    `record` is the run's. UsageError for a key that may not change; it names the way to a run that has it.
    """
    known = record.get("config")
    has = dict(train_config.flatten(known)) if isinstance(known, dict) else {}
    kept: list[str] = []
    for line in overrides:
        override = read_override(line)
        dotted = override.key_or_group.replace("/", ".")
        if may_change(dotted) or override.is_sweep_override() or dotted.startswith("hydra."):
            kept.append(line)
        elif not _is_so(override, dotted, has):
            raise _cannot_change(dotted, override, has, folder)
    name = has.get("dataset.name")
    if name is None or not any(line.startswith("dataset.") for line in kept):
        return Asked(kept)
    return Asked([quote_literals(f"dataset={name}"), *kept], ("dataset",))


def _is_so(override: Override, dotted: str, has: Mapping[str, Any]) -> bool:
    """Whether the run has this value of the key, or this option of the group."""
    if override.is_add() or override.is_delete() or override.is_force_add():
        return False
    value = value_of(override)
    for key in (dotted, f"{dotted}.name"):
        if key in has:
            return bool(has[key] == value) or _texts(has[key]) == _texts(value)
    return False


def _texts(value: Any) -> Any:
    """A value, or each of a list, as text: a quoted word is equal to one without quotes."""
    return [*map(_texts, value)] if isinstance(value, list | tuple) else str(value)


def _cannot_change(dotted: str, override: Override, has: Mapping[str, Any], folder: Path) -> UsageError:
    allowed = ", ".join(key for key in (*train_config.RUN_CONTROL, *SETTINGS[:3], "optimizer.lr") if key != "resume")
    value = has.get(dotted, has.get(f"{dotted}.name"))
    now = f" ({one_line(shown(value), 60)} there)" if dotted in has or f"{dotted}.name" in has else ""
    return UsageError(
        f"{dotted}: cannot change on resume={one_line(folder, 200)}{now}, only {allowed} and *_every; a new run with"
        f" its weights may: {way_out(folder)}{_data_of(has, dotted)} {one_line(override.input_line, 80)}"
    )


def _data_of(has: Mapping[str, Any], dotted: str) -> str:
    """The keys that choose the run's data set, as they are typed, unless it is to be another."""
    named = {"dataset": has.get("dataset.name"), "dataset.path": has.get("dataset.path")}
    typed = [
        f"{key}={value if isinstance(value, str) else typed_paths(value)}"
        for key, value in named.items()
        if isinstance(value, str | list)
    ]
    return "" if dotted == "dataset" or not typed else f" {shlex.join(typed)}"


def way_out(folder: Path) -> str:
    """What begins a new run with the networks and weights of this one, as it is typed."""
    return shlex.quote(f"init_from={folder}")


def changed_keys(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By key, what two configs of one run have of what may change and is recorded."""
    old, new = dict(train_config.flatten(before)), dict(train_config.flatten(now))
    keys = [key for key in new if key in (*SETTINGS, *PLACES) and key != "dataset.cache"]
    return {
        key: {"from": old.get(key), "to": new[key]}
        for key in keys
        if not train_config.same(key, new[key], old.get(key))
    }


def changes_in(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What was changed at each resume that changed anything, oldest first, by key; as the run's record has it."""
    resumed = record.get("resumed")
    for entry in resumed if isinstance(resumed, list) else ():
        changed = entry.get("changed") if isinstance(entry, dict) else None
        if isinstance(changed, dict) and changed:
            yield {str(key): change for key, change in changed.items() if isinstance(change, dict)}


def as_begun(record: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a run began with, of the keys that were changed since."""
    begun: dict[str, Any] = {}
    for changed in changes_in(record):
        for key, change in changed.items():
            begun.setdefault(key, change.get("from"))
    return begun
