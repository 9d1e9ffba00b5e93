"""From a validated config to a run: device, data, state and folder; fresh, resumed by name or found by `auto`."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch

from gan_cli import __version__, checkpoint, recipes, replay
from gan_cli import config as configs
from gan_cli.autotune import settle_precision, settle_threads
from gan_cli.checkpoint import Checkpoint, Provenance
from gan_cli.conduct import Ended, close_record, conduct, introduce
from gan_cli.config import Config
from gan_cli.data import build_batches, build_dataset, numbered_as, with_classes
from gan_cli.data.dataset import Dataset, check_batch_size
from gan_cli.data.reach import reachable
from gan_cli.equal_run import find_equal, note_on_recipe
from gan_cli.errors import UsageError
from gan_cli.evaluation import reference_for
from gan_cli.finetune import adopt_networks, describe_base, find_base
from gan_cli.machine import build_device, calm_threads, describe_device, environment, make_ready
from gan_cli.preview import preview
from gan_cli.replay import tell_drift
from gan_cli.rollback import restore
from gan_cli.run import Run
from gan_cli.runfolder import (
    CHECKPOINTS,
    clear_leftovers,
    create_run_folder,
    create_stamped,
    find_run,
    lock,
    read_record,
    started_in,
    write_record,
)
from gan_cli.runlog import MOST_STEPS, RunLog, cut_metrics
from gan_cli.schema import shown
from gan_cli.state import TrainState, build_state, check_parameters, load_network_tensors


@dataclass(frozen=True)
class Request:
    """A command as it was given: its config, the dotted keys the user wrote, and what came along with them.

    `recipe` is the one that was taken, and why; `overrides` are those that came to the config, None if they are not
    known; `of_recipe` are the keys of `brought` that the recipe set. `folder` is where a sweep wants the run; otherwise
    the run makes its own. `base` is what `init_from` names.
    """

    config: Config
    named: tuple[str, ...] = ()
    brought: dict[str, Any] = dataclasses.field(default_factory=dict)
    recipe: recipes.Choice = recipes.NO_RECIPE
    overrides: tuple[str, ...] | None = ()
    of_recipe: tuple[str, ...] = ()
    command: str = "gan-train"
    folder: Path | None = None
    base: Checkpoint | None = None


def launch(request: Request) -> Ended:
    """Trains; where, and with what exit code: 0, or that of the signal that stopped it."""
    config = configs.settle_end(request.config, request.named)
    if config.resume in (None, "auto"):
        replayed = replay.as_replayed(request.config, request.named, request.overrides)
        config = config if config.replay is None else replayed
    request = dataclasses.replace(request, config=config)
    if config.dry_run:
        return _preview(_with_base(request))
    if config.resume is None:
        return _start(_with_base(request))
    if config.resume != "auto":
        return _resume(request, find_run(config.resume, config.output))
    found = find_equal(config, request.overrides)
    if found is not None:
        return _resume(request, found)
    if config.extra_steps is not None:
        raise UsageError(f"extra_steps={config.extra_steps}: there is no run to add to, use steps=")
    return _start(_with_base(request))


def _with_base(request: Request) -> Request:
    """The request with the checkpoint that it starts from, if it does, and its networks, as if they came along."""
    if request.config.init_from is None:
        return request
    base = find_base(request.config)
    config = adopt_networks(request.config, base.config, request.named)
    before = dict(configs.flatten(configs.to_dict(request.config)))
    after = dict(configs.flatten(configs.to_dict(config)))
    brought = {key: value for key, value in request.brought.items() if key in after}
    brought |= {key: value for key, value in after.items() if before.get(key, after) != value}
    of_recipe = tuple(key for key in request.of_recipe if key in after and before.get(key, after) == after[key])
    return dataclasses.replace(request, config=config, brought=brought, of_recipe=of_recipe, base=base)


# --- fresh -------------------------------------------------------------------------------------------------------


def _preview(request: Request) -> Ended:
    if request.config.resume is not None:
        raise UsageError(
            f"dry_run=true shows a new run, resume={request.config.resume} goes on with an old one: give one"
        )
    prepared = _prepare(request)
    replay.find_ends(prepared.config, prepared.dataset)
    if request.recipe.reason:
        print(recipes.told(request.recipe))
    brought = dict.fromkeys(request.brought, "brought along") | dict.fromkeys(request.of_recipe, "recipe")
    preview(prepared.config, request.named, brought, prepared.dataset, prepared.state)
    return Ended(None, 0)


class Prepared(NamedTuple):
    """A config without open questions, its data and fresh state, and how the number of threads was found."""

    config: Config
    dataset: Dataset
    state: TrainState
    timed: str


def _prepare(request: Request) -> Prepared:
    """Settles the data's classes and what `auto` stands for.

    Done before anything is written: here all that does not fit is found.
    """
    device = build_device(request.config.device)
    calm_threads(request.config.threads)
    make_ready(request.config, device)
    config = settle_precision(request.config, device)
    check_parameters(config)
    dataset = build_dataset(config.dataset, config.image_size)
    check_batch_size(dataset, config.batch_size)
    if request.base is not None:
        dataset = numbered_as(config.classes, dataset)
    config = with_classes(config, dataset)
    check_parameters(config)
    build_batches(config, dataset, device)  # refuses what cannot be balanced
    config, timed = settle_threads(config, dataset, device)
    state = build_state(config, device)
    if request.base is not None:
        load_network_tensors(state, request.base.tensors)
    state.counters.total_steps = config.steps if config.budget is None and config.replay is None else None
    return Prepared(config, dataset, state, timed)


def _start(request: Request) -> Ended:
    config, dataset, state, timed = _prepare(request)
    replayed = replay.find_ends(config, dataset)
    request = dataclasses.replace(request, config=config)
    device, reference = state.device, reference_for(config, dataset, print)
    folder = create_run_folder(request.folder or create_stamped(Path(config.output) / config.run_name))
    with lock(folder):
        _record_start(request, folder, dataset, device)
        replay.keep_ends(replayed, folder)
        with RunLog(folder) as log:
            log.say(f"run: {folder}")
            if request.recipe.reason:
                log.say(recipes.told(request.recipe))
            if request.brought:
                brought = ", ".join(f"{key}={shown(value)}" for key, value in request.brought.items())
                log.say(f"brought along: {brought}")
            if request.base is not None:
                log.say(f"weights: from {describe_base(request.base)}")
            introduce(config, dataset, state, log, timed)
            batches = build_batches(config, dataset, device)
            run = Run(config, state, batches, folder, log, _provenance(device, dataset), reference=reference)
            run.ends = replay.kept_ends(config, folder)
            replay.begin(run)
            return conduct(run)


def _record_start(request: Request, folder: Path, dataset: Dataset, device: torch.device) -> None:
    record = {
        "gan_cli": __version__,
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": request.command,
        "directory": os.getcwd(),
        **environment(),
        "device": describe_device(device),
        "threads": torch.get_num_threads(),
        "data": {
            "source": dataset.source,
            "complete": dataset.complete,
            "samples": len(dataset),
            "fingerprint": dataset.fingerprint,
        },
        "init_from": None if request.base is None else describe_base(request.base),
        "brought_along": request.brought,
        "recipe": request.recipe._asdict(),
        "config": configs.to_dict(request.config),
        "resumed": [],
    }
    write_record(folder, record)


# --- resumed -----------------------------------------------------------------------------------------------------


def _resume(request: Request, folder: Path) -> Ended:
    if request.config.resume != "auto":
        for key in request.named:
            if not configs.is_run_control(key):
                allowed = ", ".join(key for key in configs.RUN_CONTROL if key != "resume")
                raise UsageError(f"{key}: cannot change on resume={request.config.resume}, only {allowed} and *_every")
    with lock(folder):
        clear_leftovers(folder)
        saved, _ = checkpoint.newest(folder / CHECKPOINTS)
        config, end = _merge(saved.config, request), _end_of(saved, request)
        if end is not None and saved.counters.step >= end:
            close_record(folder, saved.counters, saved.provenance.seconds)
            print(f"{folder}: all {saved.counters.step:,} steps are done; add some by resume={folder} extra_steps=...")
            return Ended(folder, 0)
        torch.set_num_threads(saved.provenance.threads)
        device = build_device(config.device)
        make_ready(config, device)
        dataset = build_dataset(reachable(config.dataset, started_in(folder)), config.image_size)
        if dataset.fingerprint != saved.provenance.fingerprint:
            raise UsageError(f"resume={folder}: the data are not those of the run ({dataset.source}); put them back")
        with_classes(config, dataset)
        state = restore(saved, config, end, device)
        reference = reference_for(config, dataset, print)
        set_aside = checkpoint.set_aside(folder / CHECKPOINTS, saved)
        cut_metrics(folder, state.counters.step)
        with RunLog(folder) as log:
            for line in set_aside:
                log.say(f"warning: {line}")
            note = note_on_recipe(saved.config, read_record(folder))
            if note is not None:
                log.say(note)
            replay.record_new_end(saved.counters, end, saved.provenance.seconds, folder, log)
            _record_resume(request, folder, config, state, log)
            tell_drift(saved.provenance, device, log)
            log.say(f"resuming {folder} at step {state.counters.step:,}")
            if config.training.lr_schedule != "constant" and end != saved.counters.total_steps:
                log.say(f"learning rates now go by training.lr_schedule={config.training.lr_schedule} to the new end")
            introduce(config, dataset, state, log)
            batches = build_batches(config, dataset, device)
            provenance = _provenance(device, dataset)
            run = Run(config, state, batches, folder, log, provenance, saved.metrics, reference=reference)
            run.ends = replay.kept_ends(config, folder)
            return conduct(run)


def _merge(saved: Config, request: Request) -> Config:
    """The saved config with what the user named on resuming."""
    data, new = configs.to_dict(saved), configs.to_dict(request.config)
    for key in request.named:
        head, _, leaf = key.partition(".")
        if leaf and (head in ("health", "evaluation") or key.endswith("_every")):
            data[head][leaf] = new[head][leaf]
        elif head in configs.RUN_CONTROL and head != "plugins":
            data[head] = new[head]
    data["resume"] = data["extra_steps"] = None
    if {"steps", "extra_steps", "budget"} & set(request.named):
        data["replay"] = None
    if "budget" not in request.named and {"steps", "extra_steps"} & set(request.named):
        data["budget"] = None
    return configs.parse(data)


def _end_of(saved: Checkpoint, request: Request) -> int | None:
    """Where the resumed run ends: where the saved one does, or where the user now says; None to measure a budget."""
    config, done, end = request.config, saved.counters.step, saved.counters.total_steps
    auto = config.resume == "auto"
    if config.extra_steps is not None:
        if done + config.extra_steps > MOST_STEPS:
            raise UsageError(f"extra_steps={config.extra_steps}: a run has at most {MOST_STEPS:,} steps")
        return done + config.extra_steps
    if "steps" in request.named:
        if config.steps < done and not auto:
            raise UsageError(f"steps={config.steps}: the run has done {done} already, use extra_steps=")
        if auto and end == done and config.steps == saved.config.steps:
            return end  # it ended early by its patience, and no more is asked for than before
        return max(config.steps, done)
    if "budget" in request.named and config.budget is None and end is None:
        raise UsageError("budget=null: the run was to last for a time and has no other end, give steps= or a budget")
    measured_anew = "budget" in request.named and config.budget is not None
    return None if measured_anew and not (auto and config.budget == saved.config.budget) else end


def _record_resume(request: Request, folder: Path, config: Config, state: TrainState, log: RunLog) -> None:
    record = read_record(folder)
    record["config"] = configs.to_dict(config)
    resumed = {
        "when": datetime.now().astimezone().isoformat(timespec="seconds"),
        "step": state.counters.step,
        "command": request.command,
    }
    before = record.get("resumed")
    record["resumed"] = [*(before if isinstance(before, list) else []), resumed]
    write_record(folder, record)


def _provenance(device: torch.device, dataset: Dataset) -> Provenance:
    return Provenance(
        gan_cli=__version__,
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        device=describe_device(device),
        fingerprint=dataset.fingerprint,
        seconds=0.0,
        budget_start=0.0,
        figure=None,
        value=None,
    )
