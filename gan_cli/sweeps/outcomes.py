"""The jobs of a sweep and their outcomes. Imports no torch.

The outcome of a job is read from its `outcome.json`. If that file is missing, it is derived from the job's run folder.
"""

from __future__ import annotations

import json
import shlex
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_cli.errors import one_line
from gan_cli.runs.best_metrics import read_best_metrics
from gan_cli.runs.comparability import BASIS_KEY
from gan_cli.runs.log import MAX_VALUE, read_metrics
from gan_cli.storage.locks import STOP_CODES
from gan_cli.storage.run_folder import CHECKPOINTS, JOB_OUTCOME, read_record

REFUSED_CODES = (2, 3, 5)  # exit codes of a run that did not begin
FAILED_TRAINING = ("diverged", "collapsed")
FINAL = ("done", *FAILED_TRAINING)  # statuses of jobs that are not run again, because the result would be the same
RESUMABLE = ("stopped", "killed")  # statuses of jobs that can continue from their last checkpoint


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    `number` names the job's folder. `key` is a hash of the job's settings. `config` holds the values of the keys that
    vary in the sweep. `overrides` holds the command-line overrides of the job.
    """

    number: int
    key: str
    config: dict[str, Any]
    seed: int | None
    overrides: tuple[str, ...]

    @property
    def varied(self) -> str:
        """The overrides of the keys that vary, as the user typed them, joined in one line."""
        typed = {override.partition("=")[0]: override for override in self.overrides}
        return " ".join(typed.get(key, key) for key in self.config)


@dataclass(frozen=True)
class Settings:
    """The settings that all jobs of a sweep share.

    `folder` is the sweep's folder. `flags` are command-line flags that each job gets. `ranked_by` names metrics in
    order of preference. `parallel` is True if several jobs run at a time. `threads` is the number of CPU threads of
    each job, or None to let each job choose.
    """

    folder: Path
    flags: tuple[str, ...]
    ranked_by: tuple[str, ...]
    parallel: bool = False
    threads: int | None = None


def next_folder(job: Job, settings: Settings, before: dict[str, Any]) -> tuple[Path, bool]:
    """Returns the folder for the job's next run, and True if the run in that folder is to be resumed.

    `before` is the job's last outcome.
    """
    if before["folder"] is None:
        return settings.folder / str(job.number), False
    folder = settings.folder / before["folder"]
    if before["status"] in RESUMABLE and any((folder / CHECKPOINTS).glob("*.safetensors")):
        return folder, True
    return settings.folder / f"{job.number}-{before['try'] + 1}", False


def classify_exit(code: int, errors: str, folder: Path, *, stopping: bool) -> tuple[str, str]:
    """Returns a job's status and the reason for that status, which is empty if the job is done.

    `code` is the exit code of the job's process, negative if a signal killed it. `errors` is the text of its standard
    error. `folder` is its run folder. `stopping` is True if the sweep received a signal and forwarded it to the job.
    """
    lines = [line for line in errors.splitlines() if line.strip()]
    last = one_line(lines[-1], 300) if lines else ""
    ended = _ended(folder)
    if code == 0:
        return ("done", "") if ended == "done" else ("exited", "exit code 0 before it was done")
    if code < 0 and -code not in STOP_CODES:
        return "killed", f"killed by {_signal_name(-code)}"
    if code < 0 or code in STOP_CODES.values() or stopping:
        return "stopped", "stopped, and can be resumed"
    if code == 4:
        return ended if ended in FAILED_TRAINING else "diverged", last.removeprefix("gan-train: ")
    if code in REFUSED_CODES and last.startswith("gan-train: "):
        return "refused", last.removeprefix("gan-train: ")
    if code == 1 and any(line.startswith("Traceback ") for line in lines):
        return "raised", f"raised {last}"
    return "exited", f"exit code {code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def load_outcome(job: Job, settings: Settings) -> dict[str, Any]:
    """Returns the outcome of the job's last attempt.

    If the attempt left no `outcome.json`, the outcome is built from the record in its run folder. If there was no
    attempt, the status is "not run".
    """
    folder = last_attempt(settings.folder, job.number)
    if folder is None or (folder.name == str(job.number) and not any(folder.iterdir())):  # the job has not begun
        return build_outcome(job, settings, None, "not run", "")
    recorded = read_outcome(folder)
    if recorded is not None:
        return recorded
    ended = _ended(folder)
    status = ended if ended in FINAL else "stopped"
    reason = "" if status == "done" else "its sweep ended before it" if status == "stopped" else status
    return build_outcome(job, settings, folder, status, reason)


def last_attempt(sweep: Path, number: int) -> Path | None:
    """Returns the folder of a job's last attempt, or None if the job has no folder.

    The folders of the attempts of job 3 are named `3`, `3-2`, `3-3` and so on.
    """
    found, again = sweep / str(number), 2
    if not found.is_dir():
        return None
    while (later := sweep / f"{number}-{again}").is_dir():
        found, again = later, again + 1
    return found


def last_attempts(sweep: Path) -> list[Path]:
    """Returns the folder of each job's last attempt, sorted by the number of the job."""
    numbers = sorted(int(path.name) for path in sweep.iterdir() if path.name.isdecimal())
    return [path for path in (last_attempt(sweep, number) for number in numbers) if path is not None]


def read_outcome(folder: Path) -> dict[str, Any] | None:
    """Returns the content of a job's `outcome.json`, or None if the file is missing or a main entry has a wrong type.

    Metrics and config values of a wrong type are left out. Job number and attempt are taken from the folder's name.
    """
    try:
        data = json.loads((folder / JOB_OUTCOME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    kinds = {"config": dict, "status": str, "reason": str, "figures": dict, "code": int, "findings": list}
    kinds |= {"overrides": list, "varied": str, "repeat": str}
    if not isinstance(data, dict) or any(not isinstance(data.get(key), kind) for key, kind in kinds.items()):
        return None
    metrics = {one_line(name, 80): value for name, value in data["figures"].items() if _is_number(value)}
    config = {one_line(key, 100): value for key, value in data["config"].items() if _is_plain(value)}
    seed = data.get("seed")
    texts = {key: one_line(data[key], 300) for key in ("status", "reason", "varied")}
    findings = [one_line(name, 60) for name in data["findings"]]
    number, _, attempt = folder.name.partition("-")
    from_folder = {"job": int(number), "try": int(attempt or 1), "folder": folder.name}  # replaces the file's entries
    return data | texts | from_folder | {
        "figures": metrics, "findings": findings, "seconds": _seconds(data.get("seconds")),
        "key": one_line(data.get("key"), 100), "config": config, "seed": seed if type(seed) is int else None,
        BASIS_KEY: _measured_on(data.get(BASIS_KEY)),
        "code": data["code"] if 0 <= data["code"] < 256 else 1, "overrides": list(map(str, data["overrides"])),
    }  # fmt: skip


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < MAX_VALUE


def _is_plain(value: Any, depth: int = 4) -> bool:
    """Returns True if the value is a number, text, bool or None, or a list or dict of such values up to 4 levels."""
    if isinstance(value, list | dict):
        inner = value.values() if isinstance(value, dict) else value
        return depth > 0 and all(_is_plain(each, depth - 1) for each in inner)
    return value is None or isinstance(value, str | bool) or _is_number(value)


def build_outcome(job: Job, settings: Settings, folder: Path | None, status: str, reason: str) -> dict[str, Any]:
    """Returns the content of `outcome.json` for a job. `folder` is its run folder, None if the job was not run."""
    record = {} if folder is None else read_record(folder)
    threads = record.get("threads")
    given = any(override.startswith("threads=") for override in job.overrides)
    exactly = [f"threads={threads}"] if isinstance(threads, int) and not given else []  # it affects results
    ended = record.get("ended")
    return {
        "job": job.number,
        "try": int(folder.name.partition("-")[2] or 1) if folder is not None else 0,
        "key": job.key,
        "config": job.config,
        "seed": job.seed,
        "varied": job.varied,
        "overrides": list(job.overrides),
        "repeat": shlex.join(["gan-train", *settings.flags, *job.overrides, *exactly]),
        "status": status,
        "reason": one_line(reason, 300),
        "findings": _findings(folder) if folder is not None else [],
        "figures": read_best_metrics(folder).metrics if folder is not None else {},
        BASIS_KEY: _measured_on(record.get(BASIS_KEY)),
        "seconds": _seconds(ended.get("seconds")) if isinstance(ended, dict) else 0.0,
        "folder": folder.name if folder is not None else None,
        "code": _exit_code(status),
    }


def _exit_code(status: str) -> int:
    """Returns the exit code that belongs to a status, for a job whose process left no exit code."""
    if status in ("done", "not run"):
        return 0
    return 4 if status in FAILED_TRAINING else 130 if status == "stopped" else 1


def _measured_on(value: Any) -> dict[str, Any]:
    """Returns the value if it is a dict of dicts, else an empty dict.

    Old runs have no such entry, and users may have edited the file.
    """
    return value if isinstance(value, dict) and all(isinstance(part, dict) for part in value.values()) else {}


def _ended(folder: Path) -> str | None:
    """Returns the status that the run recorded when it ended, or None if it recorded none."""
    ended = read_record(folder).get("ended")
    return str(ended.get("status")) if isinstance(ended, dict) else None


def _seconds(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and 0 <= value < 1e12 else 0.0


def _findings(folder: Path) -> list[str]:
    """Returns the names of the health findings in the run's metrics, without repeats, in order of appearance."""
    return list(dict.fromkeys(name for line in read_metrics(folder) for name in line.get("findings", ())))
