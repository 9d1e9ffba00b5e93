"""How a run goes on with what the user now says: its merged config, its end, other data, and the record of it."""

from __future__ import annotations

import dataclasses
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from gan_cli.config import train_config
from gan_cli.config.schema import shown
from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Dataset, check_batch_size
from gan_cli.data.load_dataset import build_dataset
from gan_cli.data.reach import absolute, moved, reachable
from gan_cli.errors import UsageError, one_line
from gan_cli.launch import changes
from gan_cli.runs.log import MOST_STEPS
from gan_cli.state.checkpoint import Checkpoint
from gan_cli.state.train_state import Counters
from gan_cli.storage.run_folder import read_record, started_in, write_record

ROLES = ("generator", "discriminator")
AUTO, GO_ON = "auto", "go_on"
IN_PLACE = ("data", "plugins")  # of what may change: not kept, or kept as it is


def merge(saved: Config, asked: Config, named: tuple[str, ...], folder: Path) -> Config:
    """The saved config with what the user named on resuming; of `resume=auto` settings stay as they were changed."""
    data, new = train_config.to_dict(saved), train_config.to_dict(asked)
    for key in named:
        head, _, leaf = key.partition(".")
        if leaf and (head in ("health", "evaluation") or key.endswith("_every")):
            data[head][leaf] = new[head][leaf]
        elif head in train_config.RUN_CONTROL and head not in IN_PLACE:
            data[head] = new[head]
        elif key in changes.PLACES and leaf in new["dataset"]:
            data["dataset"][leaf] = new["dataset"][leaf]
        elif key in changes.SETTINGS and asked.resume != "auto":
            _set(data, new, key, named)
    data["resume"] = data["extra_steps"] = None
    if data["on_changed_data"] == GO_ON and "on_changed_data" not in named:
        data["on_changed_data"] = AUTO  # a consent is for the command that gives it
    if {"steps", "extra_steps", "budget"} & {*named}:
        data["replay"] = None
    if "budget" not in named and {"steps", "extra_steps"} & {*named}:
        data["budget"] = None
    config = train_config.parse(data)
    if asked.data is None:
        return config
    place = asked.data if Path(os.getcwd()) == started_in(folder) else absolute(asked.data)
    return dataclasses.replace(config, dataset=moved(config.dataset, place))


def _set(data: dict[str, Any], new: dict[str, Any], key: str, named: tuple[str, ...]) -> None:
    """Sets one of the settings that may change; `optimizer.lr` for each network that follows it."""
    section, inner = data, new
    *path, leaf = key.split(".")
    for part in path:
        section, inner = section[part], inner[part]
    before, section[leaf] = section[leaf], inner[leaf]
    if key != "optimizer.lr":
        return
    following = [role for role in ROLES if "name" not in section[role] and section[role]["lr"] == before]
    if not following:
        raise UsageError(
            f"optimizer.lr={shown(inner[leaf])}: each network of this run has a rate of its own, set"
            " optimizer.generator.lr= or optimizer.discriminator.lr="
        )
    for role in following:
        if f"optimizer.{role}.lr" not in named:
            section[role]["lr"] = inner[leaf]


def end_of(saved: Checkpoint, config: Config, named: tuple[str, ...]) -> int | None:
    """Where the resumed run ends: where the saved one does, or where the user now says; None to measure a budget."""
    done, end = saved.counters.step, saved.counters.total_steps
    auto = config.resume == "auto"
    if config.extra_steps is not None:
        if done + config.extra_steps > MOST_STEPS:
            raise UsageError(f"extra_steps={config.extra_steps}: a run has at most {MOST_STEPS:,} steps")
        return done + config.extra_steps
    if "steps" in named:
        if config.steps < done and not auto:
            raise UsageError(f"steps={config.steps}: the run has done {done} already, use extra_steps=")
        if auto and end == done and config.steps == saved.config.steps:
            return end  # it ended early by its patience, and no more is asked for than before
        return max(config.steps, done)
    if "budget" in named and config.budget is None and end is None:
        raise UsageError("budget=null: the run was to last for a time and has no other end, give steps= or a budget")
    measured_anew = "budget" in named and config.budget is not None
    return None if measured_anew and not (auto and config.budget == saved.config.budget) else end


def data_of(config: Config, folder: Path, named: tuple[str, ...]) -> Dataset:
    """The data that the run goes on with; UsageError if they are gone, with what to give where nobody named them."""
    try:
        return build_dataset(reachable(config.dataset, started_in(folder)), config.image_size)
    except UsageError as error:
        said_where = {"data", "dataset.path", "dataset.root"} & {*named}
        if said_where or not (hasattr(config.dataset, "path") or hasattr(config.dataset, "root")):
            raise
        raise UsageError(f"{error}; if the data of {folder} were moved, data=... says where to") from None


def check_data(dataset: Dataset, saved: Checkpoint, config: Config, folder: Path, *, auto: bool) -> dict[str, Any]:
    """What is to be recorded of data that are not those of the run, nothing if they are.

    UsageError if they may not be gone on with: `on_changed_data` decides, and `auto` says that `resume=auto` found the
    run, which by itself takes as many pictures or more from the same place.
    """
    if dataset.fingerprint == saved.provenance.fingerprint:
        return {}
    data = read_record(folder).get("data")
    had = data.get("samples") if isinstance(data, dict) else None
    counted = f", it had {had:,}" if isinstance(had, int) else ""
    begins = f"or begin a new run with its weights by {changes.way_out(folder)} and its keys"
    told = f"resume={folder}: the data are not those of the run ({one_line(dataset.source, 200)}{counted})"
    before, now = saved.config.dataset, config.dataset
    elsewhere = any(getattr(now, leaf, None) != getattr(before, leaf, None) for leaf in ("path", "root"))
    grown = auto and not elsewhere and isinstance(had, int) and len(dataset) >= had
    if config.on_changed_data == "stop" or (config.on_changed_data == AUTO and not grown):
        raise UsageError(f"{told}; put them back, go on with these by on_changed_data=go_on, {begins}")
    if config.classes and config.classes != dataset.classes:
        now = one_line(",".join(dataset.classes), 80)
        raise UsageError(f"{told}: its classes were other ones, now [{now}]; put them back, {begins}")
    check_batch_size(dataset, config.batch_size)
    return {"data": {"from": data, "to": described(dataset)}}


def described(dataset: Dataset) -> dict[str, Any]:
    """What a run's record has of its data."""
    return {
        "source": dataset.source,
        "complete": dataset.complete,
        "samples": len(dataset),
        "fingerprint": dataset.fingerprint,
        "changes": dict(dataset.changes),
    }


def seen_so_far(counters: Counters, before: Config, now: Config) -> Counters:
    """The counters with the real images seen so far as they were, whatever the batch size is from here on."""
    gone = counters.d_updates * (before.batch_size - now.batch_size)
    return dataclasses.replace(counters, images_offset=counters.images_offset + gone)


def told(changed: dict[str, Any], step: int) -> list[str]:
    """Lines that say what is changed from this step on."""
    keys = [
        f"{key}={shown(change['to'])} (was {shown(change['from'])})" for key, change in changed.items() if key != "data"
    ]
    lines = [f"changed from step {step:,} on: {', '.join(keys)}"] if keys else []
    if "data" in changed:
        data = changed["data"]
        had = (data["from"] or {}).get("samples", "other")
        lines.append(
            f"WARNING: the data have changed since step {step:,} and the run goes on with them: {had} samples before,"
            f" {data['to']['samples']} now; on_changed_data=stop would refuse them"
        )
    return lines


def record(folder: Path, config: Config, step: int, command: str, changed: dict[str, Any]) -> None:
    """Adds to the run's record that it went on, and with what changed."""
    kept = read_record(folder)
    kept["config"] = train_config.to_dict(config)
    resumed = {
        "when": datetime.now().astimezone().isoformat(timespec="seconds"),
        "step": step,
        "command": command,
        **({"changed": changed} if changed else {}),
    }
    if "data" in changed:
        kept["data"] = changed["data"]["to"]
    before = kept.get("resumed")
    kept["resumed"] = [*(before if isinstance(before, list) else []), resumed]
    write_record(folder, kept)
