"""Determines which config keys may change when a run is resumed, and what a resume changed. Imports no torch."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override

from gan_cli.config import train_config
from gan_cli.config.compose import compose_default
from gan_cli.config.options.tasks import WITH_IMAGE
from gan_cli.config.overrides import override_value, quote_literals, read_override
from gan_cli.config.validation import format_value
from gan_cli.distributed.process_environment import is_directed
from gan_cli.errors import UsageError, one_line
from gan_cli.image_labels.image_paths import format_path_list
from gan_cli.storage.locate import find_run
from gan_cli.storage.run_record import RunRecord, load_record

# These keys say where and how the data are found. They may change, because a fingerprint shows if the data changed.
DATA_LOCATION_KEYS = (
    "dataset.path", "dataset.test_path", "dataset.root", "dataset.labels", "dataset.cache", "dataset.cache_size",
    "dataset.download", "dataset.on_bad", "dataset.follow_links", "dataset.max_pixels",
)  # fmt: skip
DATA_CHOICE = {"dataset": "dataset.name", "dataset.path": "dataset.path"}  # the keys that a new run needs most
LEARNING_RATE_KEYS = ("optimizer.lr", "optimizer.generator.lr", "optimizer.discriminator.lr")
# Each change of these is recorded with the step at which it was made.
CHANGEABLE_SETTINGS = (
    "batch_size", "training.accumulate", "threads", "training.checkpoint_activations", *LEARNING_RATE_KEYS,
)  # fmt: skip


def overrides_for_resume(overrides: Sequence[str]) -> list[str] | None:
    """Returns the overrides for resuming the run that `resume=` names, see `changed_overrides`.

    Returns None without `resume`, with `resume=auto` or `dry_run=true`. Raises UsageError if there is no such run or a
    key may not change. A process that process 0 directs may be on a machine without the run: it gets the run's config
    from process 0, and needs no more than the keys of no run, such as those of the device.
    """
    given = {override.key_or_group: override for override in map(read_override, overrides)}
    where = override_value(given["resume"]) if "resume" in given else None
    if not isinstance(where, str) or where == "auto" or ("dry_run" in given and given["dry_run"].value()):
        return None
    output = override_value(given["output"]) if "output" in given else compose_default("train")["output"]
    try:
        folder = find_run(where, str(output), log=lambda line: None)  # no message here: resuming the run prints it
    except UsageError:
        if not is_directed():
            raise
        return [text for text in overrides if train_config.is_run_control(_dotted(read_override(text)))]
    return changed_overrides(overrides, folder, load_record(folder))


def changed_overrides(overrides: Sequence[str], folder: Path, record: RunRecord) -> list[str]:
    """Returns the overrides for resuming the run in `folder`: those of keys that may change on resume.

    An override of another key is left out if the run already has its value. If not, raises UsageError, whose message
    gives the command for a new run with that value. If any key of the data set is left, the override that chooses the
    run's data set is added, so that the key exists. `record` is the run's record.
    """
    has = dict(train_config.flatten(record.config))
    changed: list[str] = []
    for line in overrides:
        override = read_override(line)
        dotted = _dotted(override)
        may_change = train_config.is_run_control(dotted) or dotted in (*CHANGEABLE_SETTINGS, *DATA_LOCATION_KEYS)
        if may_change or override.is_sweep_override() or dotted.startswith("hydra."):
            changed.append(line)
        elif not _is_unchanged(override, dotted, has):
            raise _cannot_change(dotted, override, has, folder)
    name = has.get("dataset.name")
    if name is None or not any(line.startswith("dataset.") for line in changed):
        return changed
    return [quote_literals(f"dataset={name}"), *changed]


def _dotted(override: Override) -> str:
    return override.key_or_group.replace("/", ".")


def _is_unchanged(override: Override, dotted: str, has: Mapping[str, Any]) -> bool:
    """Returns True if the run already has the override's value, or the option that the override chooses."""
    if override.is_add() or override.is_delete() or override.is_force_add():
        return False
    value = override_value(override)
    for key in (dotted, f"{dotted}.name"):
        if key in has:
            return bool(has[key] == value) or _texts(has[key]) == _texts(value)
    return False


def _texts(value: Any) -> Any:
    """Returns the value as text, so that quoted and unquoted values are equal. Each value of a list becomes text."""
    return [*map(_texts, value)] if isinstance(value, list | tuple) else str(value)


def _cannot_change(dotted: str, override: Override, has: Mapping[str, Any], folder: Path) -> UsageError:
    """Returns the error for a key that may not change. It names the keys that may, and the command for a new run."""
    allowed = ", ".join(sorted({*train_config.RUN_CONTROL, *CHANGEABLE_SETTINGS[:3], "optimizer.lr"} - {"resume"}))
    value = has.get(dotted, has.get(f"{dotted}.name"))
    now = f" ({one_line(format_value(value), 60)} there)" if dotted in has or f"{dotted}.name" in has else ""
    refused = f"{dotted}: cannot change on resume={one_line(folder, 200)}{now}, only {allowed} and *_every"
    if dotted == "task" or dotted.startswith("architecture"):  # `init_from` takes the networks, or they are others
        return UsageError(f"{refused}; other networks start from scratch: leave resume out")
    return UsageError(
        f"{refused}; a new run with its weights may: {new_run_override(folder)}{_data_and_task(has, dotted)}"
        f" {one_line(override.input_line, 80)}"
    )


def _data_and_task(has: Mapping[str, Any], dotted: str) -> str:
    """Returns shell words that choose the run's data set, unless the key `dotted` chooses another one, and its task.

    The task is needed if it gives the generator an image.
    """
    named = {} if dotted == "dataset" else {key: has.get(saved) for key, saved in DATA_CHOICE.items()}
    if has.get("task.name") in WITH_IMAGE:
        named["task"] = has["task.name"]
    typed = [
        f"{key}={value if isinstance(value, str) else format_path_list(value)}"
        for key, value in named.items()
        if isinstance(value, str | list)
    ]
    return f" {shlex.join(typed)}" if typed else ""


def new_run_override(folder: Path) -> str:
    """Returns the override that starts a new run with this run's networks and weights, quoted for a shell."""
    return shlex.quote(f"init_from={folder}")


def changed_keys(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns {"from": old value, "to": new value} for each key that differs between two configs of one run.

    Only keys of CHANGEABLE_SETTINGS and DATA_LOCATION_KEYS are compared, without `dataset.cache`.
    """
    old, new = dict(train_config.flatten(before)), dict(train_config.flatten(now))
    keys = [key for key in new if key in (*CHANGEABLE_SETTINGS, *DATA_LOCATION_KEYS) and key != "dataset.cache"]
    return {
        key: {"from": old.get(key), "to": new[key]}
        for key in keys
        if not train_config.is_same_value(key, new[key], old.get(key))
    }


def initial_values(record: RunRecord) -> dict[str, Any]:
    """Returns the values that a run had at its start, for the keys that were changed on a later resume."""
    newest_first = [change for resume in reversed(record.resumed) for change in resume.changed.items()]
    return {key: change.get("from") for key, change in newest_first}
