"""Trains a run in several processes, of which this is one.

Process 0 runs the loop as a single process does. The others take part in each update and in the evaluations, as it
directs, and write nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch

from gan_cli.config.compatibility import parse_config
from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Batches, Dataset
from gan_cli.data.load_dataset import build_batches, build_dataset, with_sources
from gan_cli.data.moved_data import resolve_data_paths, without_untrusted_folders
from gan_cli.data.streamed_images import stop_decoding
from gan_cli.device import configure_process
from gan_cli.distributed.process_environment import ProcessEnvironment, end_as_lost, reports_losses
from gan_cli.distributed.process_group import (
    COLLECT,
    COMPARE,
    END,
    GENERATE,
    LOAD,
    PREPARE,
    UPDATE,
    ConnectedGroup,
    Message,
    ProcessGroup,
)
from gan_cli.errors import GanCliError, LostProcessError, UsageError
from gan_cli.evaluation.shared_generation import Packet, make_own_batches
from gan_cli.launch.request import Request
from gan_cli.launch.several_processes import connect
from gan_cli.launch.start_run import launch
from gan_cli.state.shared_state import checksums, receive_state
from gan_cli.state.train_state import TrainState
from gan_cli.stop_signals import StopSignals
from gan_cli.training.objective import Objective, build_objective
from gan_cli.training.rollback import retry_seed
from gan_cli.training.steps import training_step


def train_together(request: Request, environment: ProcessEnvironment) -> int:
    """Trains a run as one of its processes. Returns the exit code of the run.

    If another process is lost, this one ends at once: its connections may keep it from ending as usual.
    """
    if request.config.dry_run:
        return launch(request).code if environment.rank == 0 else 0
    try:
        return _train(request, environment)
    except LostProcessError as error:
        if reports_losses():
            print(f"gan-train: {error}", file=sys.stderr)
        end_as_lost(error.exit_code)


def _train(request: Request, environment: ProcessEnvironment) -> int:
    if environment.count == 1:
        group = ProcessGroup()
        group.jobs = (environment.job,)
        return launch(dataclasses.replace(request, group=group)).code
    request, connected = connect(request, environment)
    if connected.rank > 0:
        return follow(request, connected)
    with connected.directing():
        code = launch(request).code
    connected.end(code)
    return code


class Prepared(NamedTuple):
    """What an update needs besides the state."""

    config: Config
    dataset: Dataset
    device: torch.device


def follow(request: Request, group: ConnectedGroup) -> int:
    """Takes part in a run until process 0 ends it. Returns the exit code of process 0.

    Raises LostProcessError if another process ended or does not answer. Another error is made known to the others.
    """
    with (
        StopSignals() as stop,
        open(os.devnull, "w") as nothing,
        contextlib.redirect_stdout(nothing),
        contextlib.ExitStack() as at_end,
    ):

        def received() -> int:
            return stop.received or 0

        prepared: Prepared | None = None
        run: tuple[TrainState, Objective, Batches] | None = None
        generated: Iterator[Packet] = iter(())
        while True:
            message = group.exchange(Message(signal=received()))
            if message.command == END:
                return message.value
            try:
                if message.command == PREPARE:
                    content = group.receive_text(message.value)
                    with group.answering(received):
                        prepared = _prepare(content, request, group)
                    at_end.callback(stop_decoding, prepared.dataset.samples)
                elif message.command == LOAD and prepared is not None:
                    run = _load(group.receive_text(message.value), prepared, group)
                elif message.command == UPDATE and run is not None and not message.signal:
                    run[0].counters.set_end(message.value or None)
                    group.in_update = True
                    training_step(*run)
                    group.in_update = False
                elif message.command == COMPARE and run is not None:
                    group.same_on_all([*checksums(run[0]).values()])
                elif message.command == GENERATE and run is not None:
                    generated = make_own_batches(run[0].sampler, run[1].latent, group, received)
                elif message.command == COLLECT and message.value == group.rank:
                    group.send_packet(0, *next(generated))
            except Exception as error:
                _fail(error, group)


def _fail(error: Exception, group: ConnectedGroup) -> NoReturn:
    """Makes an error known to process 0 if it waits for messages, and raises it with the number of this process."""
    if isinstance(error, LostProcessError):
        raise error
    if not group.in_update:
        with contextlib.suppress(LostProcessError):
            group.exchange(Message(failure=getattr(error, "exit_code", 1)))
    if isinstance(error, GanCliError):
        raise type(error)(f"process {group.rank}: {error}") from error
    raise error


def _prepare(content: Any, request: Request, group: ConnectedGroup) -> Prepared:
    """Loads the data of the run. Raises UsageError if they are not those of process 0.

    Whether data may be downloaded is decided by what was named in process 0, which alone reads the run's folder.
    """
    config = parse_config(content["config"])
    configure_process(config, group.device)
    if isinstance(config.threads, int):
        torch.set_num_threads(config.threads)
    section = resolve_data_paths(config.dataset, Path(content["start"]))
    if request.config.resume not in (None, "auto"):
        section = without_untrusted_folders(section, content["named"])
    located = dataclasses.replace(config, dataset=section)
    dataset = with_sources(located, build_dataset(section, config.image_size))
    if dataset.fingerprint != content["fingerprint"]:
        raise UsageError(f"the data here ({dataset.source}) are not those of process 0: copy them, or share the folder")
    return Prepared(config, dataset, group.device)


def _load(content: Any, prepared: Prepared, group: ConnectedGroup) -> tuple[TrainState, Objective, Batches]:
    """Receives the state at the start, and again after a rollback, and builds what its updates need."""
    config, dataset, device = prepared
    state = receive_state(content, config, device, group)
    batches = build_batches(config, dataset, device, state.counters.images_offset)
    share = group.share(synchronized_norm=config.device.batch_norm == "synchronized")
    objective = build_objective(config, batches, share)
    seed = retry_seed(objective.seed, state.counters.retries)
    return state, dataclasses.replace(objective, seed=seed), dataclasses.replace(batches, seed=seed)
