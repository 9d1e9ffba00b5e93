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
from gan_cli.errors import UsageError
from gan_cli.launch.request import Request
from gan_cli.stop_signals import handling, raise_if_stopping
from gan_cli.storage.run_folder import runs_in
from gan_cli.storage.run_record import load_record, start_folder


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


def let_others_prepare(request: Request, dataset: Dataset, folder: Path) -> None:
    """Process 0: lets the others load the data of the run in `folder`, and waits until they have.

    They begin only now, so that they find the files that process 0 has downloaded and decoded.
    """
    group = request.group
    if group is None or group.count == 1:
        return
    check_processes(request.config)
    content = {
        "config": train_config.to_dict(request.config),
        "fingerprint": dataset.fingerprint,
        "start": str(start_folder(folder)),
    }
    group.send_text(PREPARE, content)
    group.wait_until_ready()


def run_of_same_job(request: Request) -> Path | None:
    """Returns the folder of the run that these processes had begun before torchrun started them again, if any."""
    group, config = request.group, request.config
    if group is None or group.restarts == 0:
        return None
    for folder in runs_in(Path(config.output) / config.run_name):
        if {*load_record(folder).jobs} & {*group.jobs}:
            return folder
    return None
