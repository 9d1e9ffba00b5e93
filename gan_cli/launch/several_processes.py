"""Runs of several processes: what process 0 gives the others, and the run that torchrun started again."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path

from gan_cli.config import train_config
from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Dataset
from gan_cli.device import build_device
from gan_cli.distributed.process_count import check_processes
from gan_cli.distributed.process_environment import ProcessEnvironment
from gan_cli.distributed.process_group import PREPARE, ConnectedGroup
from gan_cli.errors import CheckpointError, UsageError
from gan_cli.launch.request import Request
from gan_cli.launch.resume_changes import CHANGEABLE_SETTINGS
from gan_cli.state import checkpoint
from gan_cli.stop_signals import handling, raise_if_stopping
from gan_cli.storage.locate import find_run
from gan_cli.storage.run_folder import CHECKPOINTS, runs_in
from gan_cli.storage.run_record import Resume, RunRecord, load_record, start_folder

KEYS_OF_END = ("steps", "extra_steps", "budget")


def connect(request: Request, environment: ProcessEnvironment) -> tuple[Request, ConnectedGroup]:
    """Connects this process to the others of its run. Returns the request with their number, and the group.

    Raises UsageError if they cannot train together.
    """
    device = build_device(request.config.device, environment.local_rank)
    if device.type == "mps":
        raise UsageError("device.processes: several processes train on CPUs or NVIDIA GPUs, use device=cpu")
    raise_if_stopping()
    with handling(signal.SIG_DFL):  # else a signal would wait for the others, as long as they may take to start
        group = ConnectedGroup(environment, device, request.config.device.timeout)
    return dataclasses.replace(request, group=group), group


def refuse_processes(config: Config) -> None:
    """Raises UsageError if the config of a new run in this process alone asks for several."""
    if config.device.processes > 1:
        raise UsageError(
            f"device.processes={config.device.processes}: in Python a run is trained by the calling process; use the"
            " command gan-train, or leave it out"
        )


def let_others_prepare(request: Request, dataset: Dataset, folder: Path | None = None) -> None:
    """Process 0: lets the others load the data of a new run, or of that in `folder`, and waits until they have.

    They begin only now, so that they find the files that process 0 has downloaded and decoded. It must be called before
    anything is written, so that data that are missing in another process change no run.
    """
    group = request.group
    if group is None or group.count == 1:
        return
    check_processes(request.config)
    content = {
        "config": train_config.to_dict(request.config),
        "fingerprint": dataset.fingerprint,
        "start": str(Path.cwd() if folder is None else start_folder(folder)),
        "named": [*request.named],
    }
    group.send_text(PREPARE, content)
    group.wait_until_ready()


def restarted_run(request: Request) -> tuple[Request, Path] | None:
    """Returns the folder of the run that these processes had begun or resumed before torchrun started them again.

    With it comes the request to resume that run. None if there is no such run, or if it has no checkpoint yet. How
    often torchrun has started this process again says nothing: that of each machine counts its own failures alone. The
    command must be the same too, since a program that torchrun starts may give several.
    """
    group, config = request.group, request.config
    if group is None or not any(group.jobs):
        return None
    parent = Path(config.output) / config.run_name
    if config.resume not in (None, "auto"):
        parent = find_run(config.resume, config.output, log=lambda line: None).parent
    for folder in runs_in(parent):
        record = load_record(folder)
        if _is_of(record, request) or any(_is_of(each, request) for each in record.resumed):
            try:
                checkpoint.load_newest(folder / CHECKPOINTS)
            except CheckpointError as error:
                print(f"warning: the restart skips {error}", flush=True)
                continue
            config = dataclasses.replace(config, resume=config.resume or "auto")
            return dataclasses.replace(request, config=config), folder
    return None


def _is_of(start: RunRecord | Resume, request: Request) -> bool:
    """Returns whether the same torchrun as now began or resumed a run by the same command."""
    jobs = () if request.group is None else request.group.jobs
    return start.command == request.command and not {*jobs}.isdisjoint(start.jobs)


def without_done(request: Request, folder: Path, step: int) -> Request:
    """Returns the request to resume the run in `folder`, whose newest checkpoint is of this step.

    If torchrun has started these processes again after they had resumed the run, and a checkpoint has been saved since,
    that checkpoint has the new end and the new settings, which are then left out of the request.
    """
    begun = [resume.step for resume in load_record(folder).resumed if _is_of(resume, request)]
    if not begun or not begun[0].isdecimal() or step <= int(begun[0]):
        return request
    named = tuple(key for key in request.named if key not in (*KEYS_OF_END, *CHANGEABLE_SETTINGS))
    return dataclasses.replace(request, config=dataclasses.replace(request.config, extra_steps=None), named=named)
