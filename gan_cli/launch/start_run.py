"""Starts a new run or resumes one from a validated config: prepares the device, the data, the state and the folder."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch

from gan_cli import __version__
from gan_cli.config import recipes, train_config
from gan_cli.config.train_config import Config
from gan_cli.config.validation import format_value
from gan_cli.data.dataset import Dataset, check_batch_size
from gan_cli.data.load_dataset import (
    build_batches,
    build_dataset,
    check_sources,
    with_classes,
    with_sources,
    with_value_range,
)
from gan_cli.device import (
    build_device,
    configure_process,
    describe_device,
    environment,
    limit_threads,
    numeric_environment,
)
from gan_cli.distributed.process_group import ALONE
from gan_cli.errors import UsageError, count_noun
from gan_cli.launch import replay, resume
from gan_cli.launch.autotune import resolve_precision, resolve_threads
from gan_cli.launch.find_same_run import find_equal_run, refusing_begun_run
from gan_cli.launch.fine_tune import adopt_networks
from gan_cli.launch.finish import due_work, missing_parts
from gan_cli.launch.out_of_memory import naming_batch_that_works
from gan_cli.launch.request import Request
from gan_cli.launch.run_training import RunResult, data_notes, log_setup, run_training
from gan_cli.launch.saved_settings import resume_command
from gan_cli.launch.several_processes import let_others_prepare, refuse_processes, restarted_run, without_done
from gan_cli.models.build_networks import check_parameters
from gan_cli.preflight.dry_run import preview
from gan_cli.runs.log import AFTER_STEP, RunLog, truncate_metrics
from gan_cli.state import checkpoint
from gan_cli.state.checkpoint import Checkpoint, Provenance
from gan_cli.state.train_state import TrainState, build_state
from gan_cli.state.weight_transfer import (
    Transfer,
    compare_classes,
    describe_classes,
    describe_transfers,
    transfer_weights,
)
from gan_cli.storage.locate import find_run
from gan_cli.storage.run_folder import (
    CHECKPOINTS,
    clear_leftovers,
    create_dated_folder,
    create_run_folder,
    has_begun,
    lock,
    removed_unless,
    write_record,
)
from gan_cli.training.periodic_evaluation import reference_for
from gan_cli.training.run import Run


def launch(request: Request) -> RunResult:
    """Trains a new run or resumes one. Returns its folder and the exit code: 0, or the code of the stopping signal.

    With `dry_run`, only prints what would be trained.
    """
    config = train_config.resolve_run_length(request.config, request.named)
    if config.resume_strict and config.resume is None:
        raise UsageError("resume_strict=true: says how to resume a run, which needs resume=")
    if config.replay is not None and config.resume in (None, "auto"):
        config = replay.apply_replay(request.config, request.named, request.overrides)
    auto = tuple(key for key in train_config.AUTO_KEYS if getattr(request.config, key) in ("auto", None))
    request = dataclasses.replace(request, config=config, auto=auto)
    if config.dry_run:
        return _preview(_with_base(request))
    if request.group is None and config.resume is None:
        refuse_processes(config)
    if (interrupted := restarted_run(request)) is not None:
        return _resume(*interrupted)
    if config.resume is None:
        return _start(_with_base(request))
    if config.resume != "auto":
        return _resume(request, find_run(config.resume, config.output))
    found = find_equal_run(config, request.overrides)
    if found is not None:
        return _resume(request, found)
    if config.extra_steps is not None:
        raise UsageError(f"extra_steps={config.extra_steps}: there is no run to add to, use steps=")
    return _start(_with_base(request))


def _with_base(request: Request) -> Request:
    """Returns the request with `base` set to the checkpoint that `init_from` names, unchanged without `init_from`.

    The config gets the architecture of that checkpoint, and the settings that this changes are added to `implied`.
    """
    if request.config.init_from is None:
        return request
    base = checkpoint.load_named(request.config.init_from, "init_from", request.config.output)
    config = adopt_networks(request.config, base.config, request.named)
    before = dict(train_config.flatten(train_config.to_dict(request.config)))
    after = dict(train_config.flatten(train_config.to_dict(config)))
    implied = {key: value for key, value in request.implied.items() if key in after}
    implied |= {key: value for key, value in after.items() if before.get(key, after) != value}
    from_recipe = tuple(key for key in request.from_recipe if key in after and before.get(key, after) == after[key])
    return dataclasses.replace(request, config=config, implied=implied, from_recipe=from_recipe, base=base)


def _preview(request: Request) -> RunResult:
    """Prints what the command would train, and tries each part of the run in a temporary folder."""
    prepared = _prepare(request)
    config, dataset, state = prepared.config, prepared.dataset, prepared.state
    replayed = replay.find_replayed_ends(config, dataset)
    if request.recipe.reason:
        print(recipes.describe_choice(request.recipe))
    for line in _transfer_notes(request, config, prepared.transfers):
        print(line)
    implied = dict.fromkeys(request.implied, "an option") | dict.fromkeys(request.from_recipe, "recipe")
    with tempfile.TemporaryDirectory(prefix="gan-cli-") as name, naming_batch_that_works(config, dataset, state):
        folder = create_run_folder(Path(name) / "run")
        if replayed is not None:
            shutil.copyfile(replayed, folder / replay.ENDS_COPY)
        with RunLog(folder) as log:
            run = _build_run(dataclasses.replace(request, config=config), dataset, state, folder, log)
            preview(run, request.named, implied, data_notes(config, dataset))
    return RunResult(None, 0)


class Prepared(NamedTuple):
    """A config without `auto` and with known classes, its data, initial state and transfers, and a note on threads."""

    config: Config
    dataset: Dataset
    state: TrainState
    threads_note: str
    transfers: dict[str, Transfer]


def _prepare(request: Request) -> Prepared:
    """Loads the data, builds the state, fills in classes and each `auto`. Writes no files. Raises UsageError."""
    if request.config.data is not None:
        raise UsageError(
            f"data={request.config.data}: is the new place of a resumed run's data and needs resume=; for a new run use"
            " dataset=folder dataset.path="
        )
    device = build_device(request.config.device)
    limit_threads(request.config.threads)
    configure_process(request.config, device)
    config = resolve_precision(request.config, device)
    check_parameters(config)
    check_sources(config)
    dataset = build_dataset(config.dataset, config.image_size)
    check_batch_size(dataset, config.batch_size)
    config = with_value_range(with_classes(config, dataset), dataset)
    dataset = with_sources(config, dataset)
    check_parameters(config)
    build_batches(config, dataset, device)  # refuses data that cannot be balanced
    config, threads_note = resolve_threads(config, dataset, device)
    state = build_state(config, device)
    transfers = {} if request.base is None else transfer_weights(state, config, request.base)
    state.counters.total_steps = config.steps if config.budget is None and config.replay is None else None
    return Prepared(config, dataset, state, threads_note, transfers)


def _transfer_notes(request: Request, config: Config, transfers: dict[str, Transfer]) -> list[str]:
    """Returns lines about the layers and classes in which the new run differs from the run of `init_from`."""
    old_classes = config.classes if request.base is None else request.base.config.classes
    return [line for line in (describe_transfers(transfers), describe_classes(old_classes, config.classes)) if line]


def _start(request: Request) -> RunResult:
    """Trains a new run in a new folder. Returns the folder and the exit code."""
    config, dataset, state, threads_note, transfers = _prepare(request)
    replayed = replay.find_replayed_ends(config, dataset)
    found_by, request = request, dataclasses.replace(request, config=config)
    let_others_prepare(request, dataset)
    reference = reference_for(config, dataset, state.device, print)
    with contextlib.ExitStack() as held:
        with refusing_begun_run(found_by):
            folder = create_run_folder(request.folder or create_dated_folder(Path(config.output) / config.run_name))
            held.enter_context(lock(folder))
            held.enter_context(removed_unless(has_begun, folder))
            _record_start(request, folder, dataset, state.device, transfers)
        if replayed is not None:
            (folder / replay.ENDS_COPY).unlink(missing_ok=True)  # it may be a link
            shutil.copyfile(replayed, folder / replay.ENDS_COPY)
        with RunLog(folder) as log:
            log.info(f"run: {folder}")
            if request.recipe.reason:
                log.info(recipes.describe_choice(request.recipe))
            if request.implied:
                implied = ", ".join(f"{key}={format_value(value)}" for key, value in request.implied.items())
                log.info(f"also set: {implied}")
            if request.base is not None:
                log.info(f"weights: from {_describe_base(request.base)}")
            for line in _transfer_notes(request, config, transfers):
                log.info(line)
            log_setup(config, dataset, state, log, threads_note)
            run = _build_run(request, dataset, state, folder, log, reference=reference)
            first_end = run.replayed_total_steps.get((0, AFTER_STEP))
            if first_end is not None:
                state.counters.total_steps = first_end
                log.planned_end(0, first_end, 0.0)
            return run_training(run, resume_command(config, folder, found_by))


def _describe_base(base: Checkpoint) -> str:
    return f"{base.path}, step {base.counters.step:,}, sha256 {base.sha256}"


def _record_start(
    request: Request, folder: Path, dataset: Dataset, device: torch.device, transfers: dict[str, Transfer]
) -> None:
    """Writes the record of a new run, `config.json`."""
    base, config = request.base, request.config
    record = {
        "gan_cli": __version__,
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": request.command,
        "directory": os.getcwd(),
        **environment(),
        "device": describe_device(device),
        "threads": torch.get_num_threads(),
        "auto": [*request.auto],
        "data": resume.data_record(dataset),
        "init_from": None if base is None else _describe_base(base),
        **({} if request.group is None else {"jobs": request.group.jobs}),
        **({"taken_over": {role: each._asdict() for role, each in transfers.items()}} if transfers else {}),
        "brought_along": request.implied,
        "recipe": request.recipe._asdict(),
        "config": train_config.to_dict(config),
        "resumed": [],
    }
    if base is not None and {*base.config.classes} != {*config.classes}:
        record["classes_of_base"] = compare_classes(base.config.classes, config.classes)
    write_record(folder, record)


def _resume(request: Request, folder: Path) -> RunResult:
    """Continues the run from its newest checkpoint, unless it is complete. Returns the folder and the exit code."""
    with lock(folder):
        clear_leftovers(folder)
        saved, refused = checkpoint.load_newest(folder / CHECKPOINTS)
        request = without_done(request, folder, saved.counters.step)
        config = resume.merge_configs(saved.config, request, folder)
        end = resume.last_step(saved, request)
        at_end = end is not None and saved.counters.step >= end
        missing = missing_parts(folder, saved) if at_end else []
        command = resume_command(config, folder, request)
        done = "its 1 step is" if saved.counters.step == 1 else f"all {saved.counters.step:,} steps are"
        if at_end and not missing:
            print(f"{folder}: {done} done; add some by {command} extra_steps=...")
            return RunResult(folder, 0)
        due = due_work(folder, saved, at_end=at_end)
        resumed = resume.restore_run(folder, saved, config, end, request)
        config, dataset, state, changed = resumed[:4]
        request = dataclasses.replace(request, config=config)
        let_others_prepare(request, dataset, folder)
        reference = reference_for(config, dataset, state.device, print)
        damaged = checkpoint.set_aside(saved, refused)
        truncate_metrics(folder, state.counters.step)
        with RunLog(folder) as log:
            for line in damaged:
                log.info(f"warning: {line}")
            lost = (saved.provenance.lines or 0) - log.lines_before(saved.counters.step)
            if lost > 0:
                log.info(
                    f"warning: metrics.jsonl lacks {count_noun(lost, 'line')} (cut off or edited): the health monitor"
                    " and evaluation.patience judge without"
                )
            resume.log_resumed(folder, resumed, saved, request, log)
            if missing:
                log.info(f"{done} done; completing the end of the run: {', '.join(missing)}")
            log_setup(config, dataset, state, log)
            run = _build_run(
                request, dataset, state, folder, log, saved_metrics=saved.metrics, reference=reference, due=due
            )
            if changed:  # saved at once, so that the changes are kept even if the run is stopped early
                run.save_checkpoint(saved.metrics, due=due, paused=True)
            return run_training(run, command)


def _build_run(request: Request, dataset: Dataset, state: TrainState, folder: Path, log: RunLog, **fields: Any) -> Run:
    """Returns a run that is ready to train. `fields` are more fields of it."""
    config, group = request.config, request.group or ALONE
    batches = build_batches(config, dataset, state.device, state.counters.images_offset)
    provenance = Provenance(
        **numeric_environment(state.device),
        fingerprint=dataset.fingerprint,
        seconds=0.0,  # the times are filled in when a checkpoint is saved
        budget_start=0.0,
    )
    replayed = replay.read_replayed_ends(config, folder)
    return Run(config, state, batches, folder, log, provenance, replayed_total_steps=replayed, group=group, **fields)
