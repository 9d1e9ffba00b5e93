"""From a validated config to a run: device, data, state and folder; fresh, resumed by name or found by `auto`."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch

from gan_cli import __version__
from gan_cli.config import recipes, train_config
from gan_cli.config.schema import shown
from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Dataset, check_batch_size
from gan_cli.data.load_dataset import build_batches, build_dataset, with_classes, with_value_range
from gan_cli.device import build_device, calm_threads, describe_device, environment, make_ready
from gan_cli.errors import UsageError
from gan_cli.launch import changes, replay, resume
from gan_cli.launch.autotune import settle_precision, settle_threads
from gan_cli.launch.dry_run import preview
from gan_cli.launch.equal_run import find_equal, note_on_recipe
from gan_cli.launch.fine_tune import adopt_networks, describe_base, find_base
from gan_cli.launch.replay import tell_drift
from gan_cli.launch.run_training import Ended, close_record, conduct, introduce
from gan_cli.launch.transfer import Taken, describe, describe_classes, of_classes, take_over
from gan_cli.models.build_networks import check_parameters
from gan_cli.runs.due import read_due
from gan_cli.runs.log import RunLog, cut_metrics
from gan_cli.state import checkpoint
from gan_cli.state.checkpoint import Checkpoint, Provenance
from gan_cli.state.train_state import TrainState, build_state
from gan_cli.storage.locate import find_run
from gan_cli.storage.run_folder import (
    CHECKPOINTS,
    clear_leftovers,
    create_run_folder,
    create_stamped,
    lock,
    read_record,
    write_record,
)
from gan_cli.training.periodic_evaluation import reference_for
from gan_cli.training.rollback import restore
from gan_cli.training.run import Run


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
    config = train_config.settle_end(request.config, request.named)
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


def _refuse_data(config: Config) -> None:
    """UsageError for `data=` of a new run, which has its data by its data set's own keys."""
    if config.data is not None:
        raise UsageError(
            f"data={config.data}: says where the data of a run that goes on are now, which needs resume=; a new run"
            " takes dataset=folder dataset.path="
        )


def _with_base(request: Request) -> Request:
    """The request with the checkpoint that it starts from, if it does, and its networks, as if they came along."""
    if request.config.init_from is None:
        return request
    base = find_base(request.config)
    config = adopt_networks(request.config, base.config, request.named)
    before = dict(train_config.flatten(train_config.to_dict(request.config)))
    after = dict(train_config.flatten(train_config.to_dict(config)))
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
    for line in _taken_over(request, prepared.config, prepared.taken):
        print(line)
    brought = dict.fromkeys(request.brought, "brought along") | dict.fromkeys(request.of_recipe, "recipe")
    preview(prepared.config, request.named, brought, prepared.dataset, prepared.state)
    return Ended(None, 0)


class Prepared(NamedTuple):
    """A config without open questions, its data and state; how the threads were found, and what weights were taken."""

    config: Config
    dataset: Dataset
    state: TrainState
    timed: str
    taken: dict[str, Taken]


def _prepare(request: Request) -> Prepared:
    """Settles the data's classes and what `auto` stands for.

    Done before anything is written: here all that does not fit is found.
    """
    _refuse_data(request.config)
    device = build_device(request.config.device)
    calm_threads(request.config.threads)
    make_ready(request.config, device)
    config = settle_precision(request.config, device)
    check_parameters(config)
    dataset = build_dataset(config.dataset, config.image_size)
    check_batch_size(dataset, config.batch_size)
    config = with_value_range(with_classes(config, dataset), dataset)
    check_parameters(config)
    build_batches(config, dataset, device)  # refuses what cannot be balanced
    config, timed = settle_threads(config, dataset, device)
    state = build_state(config, device)
    taken = {} if request.base is None else take_over(state, config, request.base)
    state.counters.total_steps = config.steps if config.budget is None and config.replay is None else None
    return Prepared(config, dataset, state, timed, taken)


def _taken_over(request: Request, config: Config, taken: dict[str, Taken]) -> list[str]:
    """Lines on what a run has of the one that it starts from, where that is not all."""
    had = config.classes if request.base is None else request.base.config.classes
    return [line for line in (describe(taken), describe_classes(had, config.classes)) if line]


def _start(request: Request) -> Ended:
    config, dataset, state, timed, taken = _prepare(request)
    replayed = replay.find_ends(config, dataset)
    request = dataclasses.replace(request, config=config)
    device, reference = state.device, reference_for(config, dataset, print)
    folder = create_run_folder(request.folder or create_stamped(Path(config.output) / config.run_name))
    with lock(folder):
        _record_start(request, folder, dataset, device, taken)
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
            for line in _taken_over(request, config, taken):
                log.say(line)
            introduce(config, dataset, state, log, timed)
            batches = build_batches(config, dataset, device)
            run = Run(config, state, batches, folder, log, _provenance(device, dataset), reference=reference)
            run.ends = replay.kept_ends(config, folder)
            replay.begin(run)
            return conduct(run)


def _record_start(
    request: Request, folder: Path, dataset: Dataset, device: torch.device, taken: dict[str, Taken]
) -> None:
    record = {
        "gan_cli": __version__,
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": request.command,
        "directory": os.getcwd(),
        **environment(),
        "device": describe_device(device),
        "threads": torch.get_num_threads(),
        "data": resume.described(dataset),
        "init_from": None if request.base is None else describe_base(request.base),
        **({"taken_over": {role: each._asdict() for role, each in taken.items()}} if taken else {}),
        **_classes_of_base(request),
        "brought_along": request.brought,
        "recipe": request.recipe._asdict(),
        "config": train_config.to_dict(request.config),
        "resumed": [],
    }
    write_record(folder, record)


def _classes_of_base(request: Request) -> dict[str, Any]:
    """What the record has of classes that differ from those of the run that this one starts from."""
    if request.base is None or {*request.base.config.classes} == {*request.config.classes}:
        return {}
    return {"classes_of_base": of_classes(request.base.config.classes, request.config.classes)}


# --- resumed -----------------------------------------------------------------------------------------------------


def _resume(request: Request, folder: Path) -> Ended:
    with lock(folder):
        clear_leftovers(folder)
        saved, _ = checkpoint.newest(folder / CHECKPOINTS)
        config = resume.merge(saved.config, request.config, request.named, folder)
        end = resume.end_of(saved, request.config, request.named)
        due = read_due(folder, saved.counters.step, saved.counters.d_updates)
        if end is not None and saved.counters.step >= end and due is None:
            close_record(folder, saved.counters, saved.provenance.seconds)
            done = "its 1 step is" if saved.counters.step == 1 else f"all {saved.counters.step:,} steps are"
            print(f"{folder}: {done} done; add some by resume={folder} extra_steps=...")
            return Ended(folder, 0)
        torch.set_num_threads(saved.provenance.threads)
        device = build_device(config.device)
        make_ready(config, device)
        dataset = resume.data_of(config, folder, request.named)
        new_data = resume.check_data(dataset, saved, config, folder, auto=request.config.resume == "auto")
        with_classes(config, dataset)
        check_batch_size(dataset, config.batch_size)
        if config.threads != saved.config.threads:
            config, _ = settle_threads(config, dataset, device)
        state = restore(saved, config, end, device)
        state.counters = resume.seen_so_far(state.counters, saved.config, config)
        changed = changes.changed_keys(train_config.to_dict(saved.config), train_config.to_dict(config)) | new_data
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
            resume.record(folder, config, state.counters.step, request.command, changed)
            tell_drift(saved.provenance, device, log)
            log.say(f"resuming {folder} at step {state.counters.step:,}")
            for line in resume.told(changed, state.counters.step):
                log.say(line)
            if config.training.lr_schedule != "constant" and end != saved.counters.total_steps:
                log.say(f"learning rates now go by training.lr_schedule={config.training.lr_schedule} to the new end")
            introduce(config, dataset, state, log)
            batches = build_batches(config, dataset, device, state.counters.images_offset)
            provenance = _provenance(device, dataset)
            run = Run(config, state, batches, folder, log, provenance, saved.metrics, reference=reference, due=due)
            run.ends = replay.kept_ends(config, folder)
            if changed:  # whatever stops it from here on, it goes on with what is so now
                kept = dataclasses.replace(provenance, seconds=state.seconds, budget_start=state.budget_start)
                checkpoint.save(state, config, folder / CHECKPOINTS, kept, saved.metrics)
            return conduct(run)


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
