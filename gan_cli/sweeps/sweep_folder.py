"""Creates or finds a sweep's folder, locks it while the sweep runs, and keeps the sweep's record in `sweep.json`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from gan_cli import __version__
from gan_cli.storage.json_files import LARGEST_OF_SWEEP, FileModel, read_as
from gan_cli.storage.locks import exclusive, require_file_locks
from gan_cli.storage.run_folder import (
    SWEEP_PREFIX,
    SWEEP_RECORD,
    create_dated_folder,
    lock,
    removed_unless,
    require_writable,
    sweeps_in,
    write_json,
)
from gan_cli.sweeps.outcomes import Job, Sweep, last_attempts


class SweepRecord(FileModel):
    """The entries that are read of a sweep's record. `identity` is that of a `Sweep`, `command` is its command line."""

    identity: str
    command: str
    jobs: list[Job]


@contextlib.contextmanager
def open_sweep(this: Sweep) -> Iterator[tuple[Sweep, bool]]:
    """Locks the sweep's folder while the context is active. Yields the sweep with its folder set, and a bool.

    The bool is True if the sweep was begun before: the folder is then the newest one with the same name and jobs. Else
    a new folder is created, and removed again after an error before the first job. Raises StorageError if the folder is
    in use, UsageError if the system has no file locks.
    """
    require_file_locks()
    require_writable(this.parent)
    this.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        with exclusive(this.parent):
            begun = None if this.fresh else _find_begun(this)
            if begun is not None and begun.folder.parent != this.parent:
                with contextlib.suppress(OSError):  # it has other sweeps or runs
                    this.parent.rmdir()
            this = begun or dataclasses.replace(this, folder=create_dated_folder(this.parent, SWEEP_PREFIX))
            held.enter_context(lock(this.folder))
            if begun is None:
                held.enter_context(removed_unless(last_attempts, this.folder))
                record = {
                    "gan_cli": __version__,
                    "started": datetime.now().astimezone().isoformat(timespec="seconds"),
                    "command": this.command,
                    "directory": os.getcwd(),
                    "identity": this.identity,
                    "jobs": [job.model_dump(exclude={"varied"}) for job in this.jobs],
                }
                write_json(this.folder / SWEEP_RECORD, record)
        yield this, begun is not None


def _find_begun(this: Sweep) -> Sweep | None:
    """Returns the sweep with the folder of the newest one with the same identity and jobs, and the job numbers there.

    Those where earlier versions put them come last. Returns None if there is none. Prints a warning for a damaged
    record, since its sweep could be the one that the user wants to continue.
    """
    for folder in [folder for parent in this.parents for folder in sweeps_in(parent)]:
        record = read_sweep(folder)
        if record is None:
            if (folder / SWEEP_RECORD).exists():
                print(f"warning: {folder / SWEEP_RECORD}: is damaged, so this sweep cannot be continued", flush=True)
            continue
        numbers = {job.key: job.number for job in record.jobs}
        if record.identity == this.identity and numbers.keys() == {job.key for job in this.jobs}:
            jobs = [job.model_copy(update={"number": numbers[job.key]}) for job in this.jobs]
            return dataclasses.replace(this, folder=folder, jobs=sorted(jobs, key=lambda job: job.number))
    return None


def read_sweep(folder: Path) -> SweepRecord | None:
    """Returns a sweep's record; None if the record is missing or damaged."""
    return read_as(SweepRecord, folder / SWEEP_RECORD, LARGEST_OF_SWEEP)
