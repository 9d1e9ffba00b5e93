"""A run's folder: made once, locked while in use, found again."""

from __future__ import annotations

import json
import os
import re
import socket
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from gan_cli.errors import StorageError, UsageError, one_line
from gan_cli.storage.links import open_own, refuse_link, without_link
from gan_cli.storage.locks import hold

RECORD, CHECKPOINTS, SAMPLES = "config.json", "checkpoints", "samples"
METRICS, BUDGET, LOG, LOCK = "metrics.jsonl", "budget.jsonl", "train.log", ".lock"
LAST, BEST = "last.safetensors", "best.safetensors"  # in CHECKPOINTS
PREFIX, OUTCOME = "sweep_", "outcome.json"  # a sweep's, and a job's
SWEEP, BOARD = "sweep.json", "leaderboard.json"  # a sweep's
STOPPED = ".stopped"  # in a sweep's folder: what tells a launcher's other processes to begin nothing more
WRITTEN_BY_HYDRA = ("multirun.yaml", "optimization_results.yaml")  # in a sweep's folder
# What is written in place, or into; the rest is replaced whole.
NO_LINKS = (LOCK, METRICS, BUDGET, LOG, CHECKPOINTS, SAMPLES, STOPPED, *WRITTEN_BY_HYDRA)
A_JOBS = re.compile(r"\d+(-\d+)?")  # folder of a sweep's job
STAMP = "%Y-%m-%d_%H%M%S"
STAMPED = re.compile(r"(\d{4}-\d\d-\d\d_\d{6})(?:-(\d+))?")


def create_stamped(parent: Path, prefix: str = "") -> Path:
    """A new folder `<prefix><date>_<time>` in `parent`; the same second gets `-2`, `-3` ..."""
    stamp = prefix + datetime.now().strftime(STAMP)
    for count in range(1, 10_000):
        folder = parent / (stamp if count == 1 else f"{stamp}-{count}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if not parent.is_dir():
                break
        except OSError as error:
            raise StorageError(f"{folder}: cannot be made ({error.strerror})") from error
    raise StorageError(f"{parent}: cannot hold a run, a file of this name is in the way")


def create_run_folder(folder: Path) -> Path:
    """`folder` with its sub-folders; UsageError if it holds a run already."""
    if (folder / RECORD).exists():
        raise UsageError(f"{folder}: holds a run already, go on with it by resume={folder}")
    try:
        for name in (CHECKPOINTS, SAMPLES):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be made ({error.strerror})") from error
    return folder


def lock(folder: Path) -> IO[str]:
    """Holds the folder for this process until the returned file is closed; StorageError names the holder.

    LinkError if a file of ours in it is a link: the folder may be a stranger's.
    """
    try:
        refuse_links(folder)
        handle = open_own(folder / LOCK, "a+")
    except OSError as error:
        raise StorageError(f"{folder}: cannot be locked ({error.strerror})") from error
    try:
        hold(handle)
    except OSError as error:
        handle.seek(0)
        holder = one_line(handle.read(200)) or "another process"
        handle.close()
        raise StorageError(f"{folder}: in use by {holder}") from error
    handle.truncate(0)
    handle.write(f"process {os.getpid()} on {socket.gethostname()}")
    handle.flush()
    return handle


def refuse_links(folder: Path) -> None:
    """LinkError if something in a run's or a sweep's folder that is written through its name is a link."""
    for name in NO_LINKS:
        refuse_link(folder / name)
    for path in folder.iterdir():
        if A_JOBS.fullmatch(path.name):
            refuse_link(path)


def clear_leftovers(folder: Path) -> None:
    """Removes the half-written files of a process that was killed. To be called by the holder of the lock only."""
    for part in (folder, folder / CHECKPOINTS, folder / SAMPLES):
        for path in part.glob(".*"):
            if path.name.endswith(".tmp") or path.name.startswith(".tmp"):  # ours, or the safetensors library's
                path.unlink(missing_ok=True)


def runs_in(folder: Path) -> list[Path]:
    """The runs in `outputs/<name>`, newest first."""
    if not folder.is_dir():
        return []
    matched = [(STAMPED.fullmatch(path.name), path) for path in folder.iterdir() if (path / RECORD).is_file()]
    dated = [(match[1], int(match[2] or 1), path) for match, path in matched if match]
    return [path for *_, path in sorted(dated, key=lambda entry: entry[:2], reverse=True)]


def sweeps_in(folder: Path) -> list[Path]:
    """The sweeps in `outputs/<name>`, newest first."""
    names = [(STAMPED.fullmatch(path.name.removeprefix(PREFIX)), path) for path in folder.glob(f"{PREFIX}*")]
    dated = [(match[1], int(match[2] or 1), path) for match, path in names if match and path.is_dir()]
    return [path for *_, path in sorted(dated, key=lambda entry: entry[:2], reverse=True)]


def write_record(folder: Path, record: dict[str, Any]) -> None:
    write_json(folder / RECORD, record)


def write_json(path: Path, data: dict[str, Any]) -> None:
    write_text(path, json.dumps(data, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Under its name when all of it is there; several processes may write the same file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    without_link(temporary).write_text(text, encoding="utf-8", errors="backslashreplace")
    os.replace(temporary, path)


def read_record(folder: Path) -> dict[str, Any]:
    """The record, or an empty one if it was lost: a run can go on from its checkpoints alone."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def started_in(folder: Path) -> Path:
    """Where the run's command was given: what relative paths in its config are relative to."""
    return Path(str(read_record(folder).get("directory", ".")))
