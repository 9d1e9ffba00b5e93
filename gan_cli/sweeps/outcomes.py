"""A sweep's jobs, and the outcome of each: from its `outcome.json`, or else from its run folder. Imports no torch."""

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
FINAL = ("done", *FAILED_TRAINING)  # statuses that would be the same if the job were run again
RESUMABLE = ("stopped", "killed")  # statuses of jobs that go on from their last checkpoint


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    `key` is a hash of its whole config, `config` the values of the keys that vary, `overrides` the command-line words.
    """

    number: int
    key: str
    config: dict[str, Any]
    seed: int | None
    overrides: tuple[str, ...]

    @property
    def varied(self) -> str:
        """The overrides of the keys that vary, as typed, in one line."""
        typed = {override.partition("=")[0]: override for override in self.overrides}
        return " ".join(typed.get(key, key) for key in self.config)


@dataclass(frozen=True)
class Settings:
    """What all jobs of a sweep share.

    `flags` are command-line flags for each job. `ranked_by` are names of metrics; the first that a job has ranks it.
    `threads` is the number for each job, None to let each job choose.
    """

    folder: Path
    flags: tuple[str, ...]
    ranked_by: tuple[str, ...]
    parallel: bool = False
    threads: int | None = None


def next_folder(job: Job, settings: Settings, before: dict[str, Any]) -> tuple[Path, bool]:
    """Returns the folder for the job's next run, and whether to resume the run in that folder."""
    if before["folder"] is None:
        return settings.folder / str(job.number), False
    folder = settings.folder / before["folder"]
    if before["status"] in RESUMABLE and any((folder / CHECKPOINTS).glob("*.safetensors")):
        return folder, True
    return settings.folder / f"{job.number}-{before['try'] + 1}", False


def classify_exit(code: int, errors: str, folder: Path, *, stopping: bool) -> tuple[str, str]:
    """Returns a job's status and the reason for it, from its exit code, its standard error and its run's record.

    `stopping`: the sweep received a signal and forwarded it to the job.
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
    """Returns the outcome of the job's last attempt; of one that left no `outcome.json`, from its run's record.

    The status is "not run" if there was no attempt.
    """
    folder = last_attempt(settings.folder, job.number)
    if folder is None or (folder.name == str(job.number) and not any(folder.iterdir())):  # only its number is reserved
        return build_outcome(job, settings, None, "not run", "")
    recorded = read_outcome(folder)
    if recorded is not None:
        return recorded
    ended = _ended(folder)
    status = ended if ended in FINAL else "stopped"
    reason = "" if status == "done" else "its sweep ended before it" if status == "stopped" else status
    return build_outcome(job, settings, folder, status, reason)


def last_attempt(sweep: Path, number: int) -> Path | None:
    """Returns the folder of a job's last attempt: `3`, `3-2`, `3-3` ...; None if it never began."""
    found, again = sweep / str(number), 2
    if not found.is_dir():
        return None
    while (later := sweep / f"{number}-{again}").is_dir():
        found, again = later, again + 1
    return found


def last_attempts(sweep: Path) -> list[Path]:
    """Returns the folder of each job's last attempt, by the number of the job."""
    numbers = sorted(int(path.name) for path in sweep.iterdir() if path.name.isdecimal())
    return [path for path in (last_attempt(sweep, number) for number in numbers) if path is not None]


def read_outcome(folder: Path) -> dict[str, Any] | None:
    """Reads a job's `outcome.json`, with everything of the wrong type left out; None if it is missing or damaged."""
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
    from_folder = {"job": int(number), "try": int(attempt or 1), "folder": folder.name}  # the folder's name decides
    return data | texts | from_folder | {
        "figures": metrics, "findings": findings, "seconds": _seconds(data.get("seconds")),
        "key": one_line(data.get("key"), 100), "config": config, "seed": seed if type(seed) is int else None,
        BASIS_KEY: _measured_on(data.get(BASIS_KEY)),
        "code": data["code"] if 0 <= data["code"] < 256 else 1, "overrides": list(map(str, data["overrides"])),
    }  # fmt: skip


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < MAX_VALUE


def _is_plain(value: Any, depth: int = 4) -> bool:
    """Whether a key of the command line can be set to this: a number, text, None, or a list or dict of such."""
    if isinstance(value, list | dict):
        inner = value.values() if isinstance(value, dict) else value
        return depth > 0 and all(_is_plain(each, depth - 1) for each in inner)
    return value is None or isinstance(value, str | bool) or _is_number(value)


def build_outcome(job: Job, settings: Settings, folder: Path | None, status: str, reason: str) -> dict[str, Any]:
    """Builds the content of `outcome.json`."""
    record = {} if folder is None else read_record(folder)
    threads = record.get("threads")
    given = any(override.startswith("threads=") for override in job.overrides)
    exactly = [f"threads={threads}"] if isinstance(threads, int) and not given else []  # results depend on it
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
    """The exit code to report for a job whose process left none."""
    if status in ("done", "not run"):
        return 0
    return 4 if status in FAILED_TRAINING else 130 if status == "stopped" else 1


def _measured_on(value: Any) -> dict[str, Any]:
    """The value if it has the right shape, else an empty dict: old runs have none, and people edit files."""
    return value if isinstance(value, dict) and all(isinstance(part, dict) for part in value.values()) else {}


def _ended(folder: Path) -> str | None:
    """The status that the run recorded at its end; None if it recorded none."""
    ended = read_record(folder).get("ended")
    return str(ended.get("status")) if isinstance(ended, dict) else None


def _seconds(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and 0 <= value < 1e12 else 0.0


def _findings(folder: Path) -> list[str]:
    """Names of the health findings in a run's lines of metrics, in order, each once."""
    return list(dict.fromkeys(name for line in read_metrics(folder) for name in line.get("findings", ())))
