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
            found = None if this.fresh else _find_begun(this)
            folder = found[0] if found is not None else create_dated_folder(this.parent, SWEEP_PREFIX)
            held.enter_context(lock(folder))
            if found is None:
                held.enter_context(removed_unless(last_attempts, folder))
                record = {
                    "gan_cli": __version__,
                    "started": datetime.now().astimezone().isoformat(timespec="seconds"),
                    "command": this.command,
                    "directory": os.getcwd(),
                    "identity": this.identity,
                    "jobs": [job.model_dump(exclude={"varied"}) for job in this.jobs],
                }
                write_json(folder / SWEEP_RECORD, record)
        this = dataclasses.replace(this, folder=folder)
        if found is not None:
            number = {job.key: job.number for job in found[1].jobs}
            jobs = [job.model_copy(update={"number": number[job.key]}) for job in this.jobs]
            this = dataclasses.replace(this, jobs=sorted(jobs, key=lambda job: job.number))
        yield this, found is not None


def _find_begun(this: Sweep) -> tuple[Path, SweepRecord] | None:
    """Returns the folder and the record of the newest sweep with the same identity and jobs; None if there is none.

    Prints a warning for a damaged record, since its sweep could be the one that the user wants to continue, and a note
    if the command is that of a sweep whose configs were others, as of another version of gan-cli.
    """
    others: list[Path] = []
    for folder in sweeps_in(this.parent):
        record = read_sweep(folder)
        if record is None and (folder / SWEEP_RECORD).exists():
            print(f"warning: {folder / SWEEP_RECORD}: is damaged, so this sweep cannot be continued", flush=True)
        if record is None or record.identity != this.identity:
            others += [folder] if record is not None and record.command == this.command else []
            continue
        if {job.key for job in record.jobs} == {job.key for job in this.jobs}:
            return folder, record
    if others:
        print(f"note: {others[0]} is not continued: the same command gives other configs now", flush=True)
    return None


def read_sweep(folder: Path) -> SweepRecord | None:
    """Returns a sweep's record; None if the record is missing or damaged."""
    return read_as(SweepRecord, folder / SWEEP_RECORD, LARGEST_OF_SWEEP)
