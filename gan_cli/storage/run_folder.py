"""Creates, locks and lists the folders of runs and sweeps, and reads and writes their files."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from gan_cli.errors import StorageError, UsageError, describe_reason, one_line
from gan_cli.storage.atomic_write import remove_empty, remove_unlocked, write_bytes
from gan_cli.storage.json_files import LARGEST_FILE, load_json
from gan_cli.storage.locks import lock_file, lock_folder
from gan_cli.storage.run_files import open_to_append, read_bytes, refuse_symlink, refuse_unsafe

RECORD, CHECKPOINTS, SAMPLES = "config.json", "checkpoints", "samples"
METRICS, BUDGET, LOG, LOCK = "metrics.jsonl", "budget.jsonl", "train.log", ".lock"
LAST, BEST, PAUSED = "last.safetensors", "best.safetensors", "paused.safetensors"  # in CHECKPOINTS
SWEEP_PREFIX, JOB_OUTCOME = "sweep_", "outcome.json"  # start of a sweep folder's name; a file in a job's folder
SWEEP_RECORD, LEADERBOARD = "sweep.json", "leaderboard.json"  # in a sweep's folder
STOP_FILE = ".stopped"  # in a sweep's folder; while it exists, a launcher's processes start no more jobs
WRITTEN_BY_HYDRA = ("multirun.yaml", "optimization_results.yaml")  # in a sweep's folder
# These must be no links, since we write to the existing file or folder. All other files are replaced.
NO_LINKS = (LOCK, METRICS, BUDGET, LOG, CHECKPOINTS, SAMPLES, STOP_FILE, *WRITTEN_BY_HYDRA)
JOB_FOLDER = re.compile(r"\d+(-\d+)?")  # the name of a job's folder
NO_RECORD = (errno.ENOENT, errno.ENOTDIR, errno.EINVAL, errno.EFBIG, errno.ELOOP)  # there is no file that we wrote
DATE_FORMAT = "%Y-%m-%d_%H%M%S"
DATED = re.compile(r"(\d{4}-\d\d-\d\d_\d{6})(?:-(\d+))?")


def require_writable(folder: Path) -> None:
    """Raises StorageError if no folder can be made in `folder`, or in the nearest parent of it that exists."""
    parent = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    try:
        os.rmdir(tempfile.mkdtemp(dir=parent))
    except OSError as error:
        raise StorageError(
            f"{folder}: no folder can be made there ({describe_reason(error, folder)}); choose another place by output="
        ) from error


def create_dated_folder(parent: Path, prefix: str = "") -> Path:
    """Creates the folder `<prefix><date>_<time>` in `parent`, or `...-2` and so on if it exists, and returns its path.

    Raises StorageError if the folder cannot be created.
    """
    stamp = prefix + datetime.now().strftime(DATE_FORMAT)
    for count in range(1, 10_000):
        folder = parent / (stamp if count == 1 else f"{stamp}-{count}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if not parent.is_dir():
                break
        except OSError as error:
            raise StorageError(f"{one_line(folder, 300)}: cannot be made ({describe_reason(error, folder)})") from error
    raise StorageError(f"{parent}: cannot hold a run, it is a file")


def create_run_folder(folder: Path) -> Path:
    """Creates a run's folder. Raises UsageError if it holds a run already, StorageError if it cannot be created."""
    if (folder / RECORD).exists():
        raise UsageError(f"{folder}: holds a run already, resume it by resume={folder}")
    try:
        for name in (CHECKPOINTS, SAMPLES):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _remove_without_record(folder)
        raise StorageError(f"{one_line(folder, 300)}: cannot be made ({describe_reason(error, folder)})") from error
    return folder


def _remove_without_record(folder: Path) -> None:
    """Removes the new folder of a run if nothing was written to it, and its parents if they are empty."""
    if not (folder / RECORD).exists():
        remove_empty(folder / CHECKPOINTS, folder / SAMPLES, folder, *folder.parents[:2])


@contextlib.contextmanager
def removed_unless(begun: Callable[[Path], object], folder: Path) -> Iterator[None]:
    """After an error or a signal, removes the new folder of a run or sweep, unless `begun(folder)` is true."""
    try:
        yield
    except BaseException:
        if not begun(folder):
            shutil.rmtree(folder, ignore_errors=True)
            remove_empty(*folder.parents[:2])
        raise


def has_begun(folder: Path) -> bool:
    """Returns True if a run has a checkpoint or a recorded end."""
    record = load_json(folder / RECORD)
    return any((folder / CHECKPOINTS).iterdir()) or (isinstance(record, dict) and "ended" in record)


def lock(folder: Path) -> contextlib.ExitStack:
    """Locks the folder for this process until the returned object is closed.

    Locks the file `.lock`, as all versions do, and the folder itself, so that the lock holds if `.lock` is removed.
    Raises StorageError if another process holds the lock, and names that process. Raises UnsafeFileError if one of the
    files in NO_LINKS could redirect our writing, because another user may have made the folder.
    """
    with contextlib.ExitStack() as held:
        try:
            remove_unlocked(folder)  # after a power cut, a file may be in there as well
            refuse_links(folder)
            handle = held.enter_context(open_to_append(folder / LOCK))
        except OSError as error:
            _remove_without_record(folder)
            raise StorageError(f"{folder}: cannot be locked ({describe_reason(error, folder)})") from error
        try:
            lock_file(handle)
            held.callback(os.close, lock_folder(folder))
        except OSError as error:
            handle.seek(0)
            holder = one_line(handle.read(200)) or "another process"
            raise StorageError(f"{folder}: in use by {holder}") from error
        with contextlib.suppress(OSError):  # the lock holds without the name of its holder
            os.ftruncate(handle.fileno(), 0)
            os.write(handle.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode())
        return held.pop_all()


def refuse_links(folder: Path) -> None:
    """Raises UnsafeFileError if one of NO_LINKS is a link or no regular file, or if a job's folder is a link."""
    for name in NO_LINKS:
        refuse_unsafe(folder / name)
    for path in folder.iterdir():
        if JOB_FOLDER.fullmatch(path.name):
            refuse_symlink(path)


def clear_leftovers(folder: Path) -> None:
    """Removes temporary files of killed processes, not of live ones. The caller must hold the folder's lock."""
    for part in (folder, folder / CHECKPOINTS, folder / SAMPLES):
        remove_unlocked(part)


def runs_in(folder: Path) -> list[Path]:
    """Returns the run folders in the folder `outputs/<name>`, newest first. The folder need not exist."""
    return [path for path in _dated_in(folder, "") if (path / RECORD).is_file()]


def sweeps_in(folder: Path) -> list[Path]:
    """Returns the sweep folders in the folder `outputs/<name>`, newest first. The folder need not exist."""
    return [path for path in _dated_in(folder, SWEEP_PREFIX) if path.is_dir()]


def _dated_in(folder: Path, prefix: str) -> list[Path]:
    """Returns the paths in the folder that `create_dated_folder` may have made, newest first."""
    matched = [(DATED.fullmatch(path.name.removeprefix(prefix)), path) for path in folder.glob(f"{prefix}*")]
    dated = [((match[1], int(match[2] or 1)), path) for match, path in matched if match]
    return [path for _, path in sorted(dated, reverse=True)]


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Writes a run's record, `config.json`."""
    write_json(folder / RECORD, record)


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Writes `data` as a JSON file. A reader sees either the old or the new file, never a part of it."""
    write_text(path, json.dumps(data, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text file as `write_bytes` does."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def read_record(folder: Path) -> dict[str, Any]:
    """Returns a run's record to add to, or an empty dict. `run_record.load_record` is for reading it.

    Raises StorageError if there is a record that cannot be read, because writing it again would lose what it holds.
    """
    try:
        record = json.loads(read_bytes(folder / RECORD, LARGEST_FILE))
    except OSError as error:
        if error.errno in NO_RECORD:
            return {}
        raise StorageError(f"{folder / RECORD}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
