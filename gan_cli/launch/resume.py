"""Resumes a run with a new command: merges configs, determines the last step, loads and checks data, and records it."""

from __future__ import annotations

import dataclasses
import os
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from gan_cli.config import train_config
from gan_cli.config.compatibility import parse_config
from gan_cli.config.options.schedules import active_schedules
from gan_cli.config.train_config import Config
from gan_cli.config.validation import format_value
from gan_cli.data.dataset import Dataset, check_batch_size
from gan_cli.data.load_dataset import build_dataset, with_classes, with_sources
from gan_cli.data.moved_data import absolute_paths, relocate_data, resolve_data_paths, without_untrusted_folders
from gan_cli.device import build_device, configure_process, numeric_environment
from gan_cli.distributed.process_count import check_processes, merged_device, process_changes, with_processes
from gan_cli.errors import UsageError, one_line
from gan_cli.image_labels.image_paths import Paths, format_path_list, split_paths
from gan_cli.launch import replay, resume_changes
from gan_cli.launch.autotune import resolve_threads
from gan_cli.launch.find_same_run import note_on_recipe
from gan_cli.launch.request import Request
from gan_cli.launch.saved_settings import chose_threads, environment_changes, restrict_saved, use_saved_threads
from gan_cli.runs.log import MOST_STEPS, RunLog
from gan_cli.state.checkpoint import Checkpoint
from gan_cli.state.growth import describe_growth
from gan_cli.state.train_state import ROLES, TrainState
from gan_cli.storage.run_folder import read_record, write_record
from gan_cli.storage.run_record import load_record, start_folder
from gan_cli.training.rollback import restore

AUTO, GO_ON = "auto", "go_on"
NOT_MERGED = ("data", "plugins")  # keys of RUN_CONTROL whose values in the command do not replace the saved ones


def merge_configs(saved: Config, request: Request, folder: Path) -> Config:
    """Returns the saved config, in which named keys that may change on resume have the command's values.

    With `resume=auto`, the keys of CHANGEABLE_SETTINGS keep their saved values: the user repeats the first command, and
    an earlier resume may have changed these keys since. `folder` is the run's folder.
    """
    command, named = request.config, request.named
    data, new = train_config.to_dict(saved), train_config.to_dict(command)
    for key in named:
        head, _, leaf = key.partition(".")
        if leaf and (head in ("health", "evaluation") or key.endswith("_every")):
            data[head][leaf] = new[head][leaf]
        elif head == "device":
            data["device"] = merged_device(train_config.to_dict(saved)["device"], new["device"], named)
        elif head in train_config.RUN_CONTROL and head not in NOT_MERGED:
            data[head] = new[head]
        elif key in resume_changes.DATA_LOCATION_KEYS and leaf in new["dataset"]:
            data["dataset"][leaf] = new["dataset"][leaf]
        elif key in resume_changes.CHANGEABLE_SETTINGS and command.resume != AUTO:
            _set(data, new, key, named)
    data["resume"] = data["extra_steps"] = None
    data["resume_strict"] = False  # as go_on below, it is valid only for the command in which the user wrote it
    if data["on_changed_data"] == GO_ON and "on_changed_data" not in named:
        data["on_changed_data"] = AUTO  # go_on is valid only for the command in which the user wrote it
    if {"steps", "extra_steps", "budget"} & {*named}:
        data["replay"] = None
    if "budget" not in named and {"steps", "extra_steps"} & {*named}:
        data["budget"] = None
    config = parse_config(data)
    if command.data is None:
        return config
    location = (
        command.data if Path(os.getcwd()) == start_folder(folder) else absolute_paths(command.data, config.dataset.name)
    )
    return dataclasses.replace(config, dataset=relocate_data(config.dataset, location))


def _set(data: dict[str, Any], new: dict[str, Any], key: str, named: tuple[str, ...]) -> None:
    """Copies one setting from the config `new` to the config `data`.

    A new `optimizer.lr` is also set for each network whose learning rate was equal to the old one, unless the user
    named that network's rate. Raises UsageError if no network's rate was equal to the old one.
    """
    section, inner = data, new
    *path, leaf = key.split(".")
    for part in path:
        section, inner = section[part], inner[part]
    before, section[leaf] = section[leaf], inner[leaf]
    if key != "optimizer.lr" or before == inner[leaf]:
        return
    following = [role for role in ROLES if "name" not in section[role] and section[role]["lr"] == before]
    if not following:
        raise UsageError(
            f"optimizer.lr={format_value(inner[leaf])}: each network of this run has a rate of its own, set"
            " optimizer.generator.lr= or optimizer.discriminator.lr="
        )
    for role in following:
        if f"optimizer.{role}.lr" not in named:
            section[role]["lr"] = inner[leaf]


def last_step(saved: Checkpoint, request: Request) -> int | None:
    """Returns the last step of the resumed run: the command's if the command names one, else the saved one.

    Returns None if a time budget determines the last step and has not been converted to steps yet. Raises UsageError if
    the command names a step that is already done, too many steps, or no end at all.
    """
    done, end = saved.counters.step, saved.counters.total_steps
    config, named, auto = request.config, request.named, request.config.resume == AUTO
    if config.extra_steps is not None:
        if done + config.extra_steps > MOST_STEPS:
            raise UsageError(f"extra_steps={config.extra_steps}: a run has at most {MOST_STEPS:,} steps")
        return done + config.extra_steps
    if "steps" in named:
        if config.steps < done and not auto:
            raise UsageError(f"steps={config.steps}: the run has done {done} already, use extra_steps=")
        if auto and end == done and config.steps == saved.config.steps:
            return end  # the run stopped early by evaluation.patience, and the command is the same as before
        return max(config.steps, done)
    if "budget" in named and config.budget is None and end is None:
        raise UsageError("budget=null: the run has no other end than its time budget, give steps= or a budget")
    measured_anew = "budget" in named and config.budget is not None
    return None if measured_anew and not (auto and config.budget == saved.config.budget) else end


def load_data(config: Config, folder: Path, request: Request) -> Dataset:
    """Loads the data. Unless the command names the place (`resume=auto` does), nothing is written elsewhere.

    The UsageError without the data says how to name their place, unless the command already does.
    """
    section = resolve_data_paths(config.dataset, start_folder(folder))
    if request.config.resume != AUTO:
        section = without_untrusted_folders(section, request.named)
    try:
        return with_sources(dataclasses.replace(config, dataset=section), build_dataset(section, config.image_size))
    except UsageError as error:
        names_location = {"data", "dataset.path", "dataset.root"} & {*request.named}
        if names_location or not (hasattr(config.dataset, "path") or hasattr(config.dataset, "root")):
            raise
        raise UsageError(f"{error}; if the data of {folder} were moved, data=... says where to") from None


def check_data(dataset: Dataset, saved: Checkpoint, config: Config, folder: Path, *, auto: bool) -> dict[str, Any]:
    """Compares the data with those on which the run was trained. Returns the changes for the run's record, if any.

    With changed data, `on_changed_data` decides whether the run may continue; if "auto", only if `resume=auto` found it
    (`auto` is True) and the data at the same place have at least as many samples. Raises UsageError otherwise.
    """
    if dataset.fingerprint == saved.provenance.fingerprint:
        return {}
    record = load_record(folder)
    data, old_count = record.data, record.samples
    counted = f", it had {old_count:,}" if old_count is not None else ""
    new_run = f"or begin a new run with its weights by {resume_changes.new_run_override(folder)} and its keys"
    problem = f"resume={folder}: the data are not those of the run ({one_line(dataset.source, 200)}{counted})"
    before, now = saved.config.dataset, config.dataset
    problem += _other_order(getattr(before, "path", None), getattr(now, "path", None))
    moved_data = any(getattr(now, leaf, None) != getattr(before, leaf, None) for leaf in ("path", "root"))
    grown = auto and not moved_data and old_count is not None and len(dataset) >= old_count
    if config.on_changed_data == "stop" or (config.on_changed_data == AUTO and not grown):
        raise UsageError(f"{problem}; put them back, continue with these by on_changed_data=go_on, {new_run}")
    if config.classes and config.classes != dataset.classes:
        classes = one_line(",".join(dataset.classes), 80)
        raise UsageError(f"{problem}: its classes were different, now [{classes}]; put them back, {new_run}")
    check_batch_size(dataset, config.batch_size)
    return {"data": {"from": data, "to": data_record(dataset)}}


def _other_order(before: Paths | None, now: Paths | None) -> str:
    """Returns the part of a message saying that `now` names the run's data folders in another order, if it does."""
    if before is None or now is None:
        return ""
    old, new = ([os.path.abspath(os.path.expanduser(path)) for path in split_paths(each)] for each in (before, now))
    if old == new or sorted(old) != sorted(new):
        return ""
    typed = one_line(format_path_list(split_paths(before)), 200)
    return f"; dataset.path names its folders in another order, it was {typed}"


def data_record(dataset: Dataset) -> dict[str, Any]:
    """Returns the entry about a data set for a run's record."""
    return {
        "source": dataset.source,
        "complete": dataset.complete,
        "samples": len(dataset),
        "fingerprint": dataset.fingerprint,
        "changes": dict(dataset.changes),
    }


def describe_changes(changed: dict[str, Any], step: int) -> list[str]:
    """Returns lines saying which keys and which data change from this step on."""
    keys = [
        f"{key}={format_value(change['to'])} (was {format_value(change['from'])})"
        for key, change in changed.items()
        if key != "data"
    ]
    lines = [f"changed from step {step:,} on: {', '.join(keys)}"] if keys else []
    if "data" in changed:
        before, now = changed["data"]["from"].get("samples", "other"), changed["data"]["to"]["samples"]
        lines.append(
            f"WARNING: the data have changed since step {step:,} and the run continues with them: {before} samples"
            f" before, {now} now; on_changed_data=stop would refuse them"
        )
    return lines


def record_resume(folder: Path, config: Config, step: int, request: Request, changed: dict[str, Any]) -> None:
    """Adds an entry about this resume to the run's record and stores the new config there."""
    record = read_record(folder)
    record["config"] = train_config.to_dict(config)
    record.pop("ended", None)  # it goes on; how it ended before is no longer true
    resumed = {
        "when": datetime.now().astimezone().isoformat(timespec="seconds"),
        "step": step,
        "command": request.command,
        **({} if request.group is None else {"jobs": request.group.jobs}),
        **({"changed": changed} if changed else {}),
    }
    if "data" in changed:
        record["data"] = changed["data"]["to"]
    before = record.get("resumed")
    record["resumed"] = [*(before if isinstance(before, list) else []), resumed]
    write_record(folder, record)


class Resumed(NamedTuple):
    """A resumed run before its first update. `changed` has the old and new values of the keys and the data.

    `warnings` say which settings are not used, and what of the environment has changed.
    """

    config: Config
    dataset: Dataset
    state: TrainState
    changed: dict[str, Any]
    warnings: list[str]


def restore_run(folder: Path, saved: Checkpoint, config: Config, end: int | None, request: Request) -> Resumed:
    """Sets up device and threads, loads the data and restores the state. `config` is the merged one.

    Raises UsageError as `check_data` does, and with `resume_strict` if the environment has changed.
    """
    config, warnings = restrict_saved(config, request, folder)
    config = with_processes(config, 1 if request.group is None else request.group.count)
    check_processes(config)
    warnings += process_changes(saved.config, config)
    if config.device.processes != saved.config.device.processes and "threads" not in request.named:
        config = dataclasses.replace(config, threads="auto" if chose_threads(load_record(folder)) else config.threads)
    chosen = "threads" in request.named or request.config.threads == config.threads  # in a file of `resume=auto`
    typed = config.threads if chosen and isinstance(config.threads, int) else 0
    use_saved_threads(saved.provenance.threads, typed)
    device = build_device(config.device)
    configure_process(config, device)
    now = numeric_environment(device) | ({"threads": saved.provenance.threads} if typed else {})
    changes = environment_changes(saved.provenance, now, strict=request.config.resume_strict)
    warnings += [f"warning: {change}: results may differ in their last bits" for change in changes]
    dataset = load_data(config, folder, request)
    new_data = check_data(dataset, saved, config, folder, auto=request.config.resume == AUTO)
    with_classes(config, dataset)
    check_batch_size(dataset, config.batch_size)
    if typed or config.threads != saved.config.threads:
        config, _ = resolve_threads(config, dataset, device)
    state = restore(saved, config, end, device)
    changed = resume_changes.changed_keys(train_config.to_dict(saved.config), train_config.to_dict(config)) | new_data
    return Resumed(config, dataset, state, changed, warnings)


def log_resumed(folder: Path, resumed: Resumed, saved: Checkpoint, request: Request, log: RunLog) -> None:
    """Records this resume in the run's folder, and logs the step at which the run continues and what changed."""
    config, state, end = resumed.config, resumed.state, resumed.state.counters.total_steps
    if (note := note_on_recipe(saved.config, load_record(folder))) is not None:
        log.info(note)
    replay.record_new_end(saved.counters, end, saved.provenance.seconds, folder, log)
    record_resume(folder, config, state.counters.step, request, resumed.changed)
    resuming = f"resuming {folder} at step {state.counters.step:,}"
    for line in (*resumed.warnings, resuming, *describe_changes(resumed.changed, state.counters.step)):
        log.info(line)
    moving = [f"schedule.{name}" for name in active_schedules(config.schedule)]
    if config.training.instance_noise:
        moving.append("training.instance_noise")
    if config.schedule.lr.to is None and config.training.lr_schedule != "constant":
        moving.insert(0, f"training.lr_schedule={config.training.lr_schedule}")
    if moving and end != saved.counters.total_steps:
        how = "stay until the new end is known, and then move to it" if end is None else "now move to the new end"
        log.info(f"values {how}, by {', '.join(moving)}")
    if end != saved.counters.total_steps and (line := describe_growth(state)):
        log.info(line)
