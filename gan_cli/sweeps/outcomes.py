"""What a sweep's jobs are, and what became of each: as its `outcome.json` says, or else its folder."""

from __future__ import annotations

import json
import shlex
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_cli.errors import one_line
from gan_cli.runs.best_metrics import chosen_figures
from gan_cli.runs.comparability import MEASURED_ON
from gan_cli.runs.log import LARGEST, read_metrics
from gan_cli.storage.locks import signals
from gan_cli.storage.run_folder import CHECKPOINTS, OUTCOME, read_record

ASKED = dict(
    zip(signals("SIGINT", "SIGTERM", "SIGUSR1"), (130, 143, 138), strict=False)
)  # what a run heeds, and its exit code then
REFUSED = (2, 3, 5)
WORSE = ("diverged", "collapsed")
FINAL = ("done", *WORSE)  # however often it is run
RESUMED = ("stopped", "killed")  # from the last checkpoint, bit for bit as if unbroken


@dataclass(frozen=True)
class Job:
    """A combination of a sweep: `key` is a hash of its whole config, `config` what varies, `overrides` as typed."""

    number: int
    key: str
    config: dict[str, Any]
    seed: int | None
    overrides: tuple[str, ...]

    @property
    def varied(self) -> str:
        given = {override.partition("=")[0]: override for override in self.overrides}
        return " ".join(given.get(key, key) for key in self.config)


@dataclass(frozen=True)
class Settings:
    """What all jobs of a sweep have in common. `flags` are of the command line; `ranked_by` names figures, any of them.

    `threads` are for each job, None for as many as it finds best.
    """

    folder: Path
    flags: tuple[str, ...]
    ranked_by: tuple[str, ...]
    parallel: bool = False
    threads: int | None = None


def next_folder(job: Job, settings: Settings, before: dict[str, Any]) -> tuple[Path, bool]:
    """Where the job runs next, and whether it goes on with the run that is there."""
    if before["folder"] is None:
        return settings.folder / str(job.number), False
    folder = settings.folder / before["folder"]
    if before["status"] in RESUMED and any((folder / CHECKPOINTS).glob("*.safetensors")):
        return folder, True
    return settings.folder / f"{job.number}-{before['try'] + 1}", False


def explain(code: int, complaint: str, folder: Path, *, asked: bool) -> tuple[str, str]:
    """Status and reason. `asked`: the sweep had been asked to stop, and had passed that on."""
    lines = [line for line in complaint.splitlines() if line.strip()]
    last = one_line(lines[-1], 300) if lines else ""
    ended = _ended(folder)
    if code == 0:
        return ("done", "") if ended == "done" else ("exited", "exit code 0 before it was done")
    if code < 0 and -code not in ASKED:
        return "killed", f"killed by {_name_of(-code)}"
    if code < 0 or code in ASKED.values() or asked:
        return "stopped", "stopped, and can be resumed"
    if code == 4:
        return ended if ended in WORSE else "diverged", last.removeprefix("gan-train: ")
    if code in REFUSED and last.startswith("gan-train: "):
        return "refused", last.removeprefix("gan-train: ")
    if code == 1 and any(line.startswith("Traceback ") for line in lines):
        return "raised", f"raised {last}"
    return "exited", f"exit code {code}"


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def outcome_of(job: Job, settings: Settings) -> dict[str, Any]:
    """What became of the job's last try, from its folder alone if nobody was there to note it; "not run" if none."""
    folder = last_try(settings.folder, job.number)
    if folder is None or (folder.name == str(job.number) and not any(folder.iterdir())):  # its number is taken, no more
        return describe(job, settings, None, "not run", "")
    noted = read_outcome(folder)
    if noted is not None:
        return noted
    ended = _ended(folder)
    status = ended if ended in FINAL else "stopped"
    reason = "" if status == "done" else "its sweep ended before it" if status == "stopped" else status
    return describe(job, settings, folder, status, reason)


def last_try(sweep: Path, number: int) -> Path | None:
    """The folder of a job, or of its second try, third ...; None if it never began."""
    found, again = sweep / str(number), 2
    if not found.is_dir():
        return None
    while (later := sweep / f"{number}-{again}").is_dir():
        found, again = later, again + 1
    return found


def last_tries(sweep: Path) -> list[Path]:
    """That of each job, in order."""
    numbers = sorted(int(path.name) for path in sweep.iterdir() if path.name.isdecimal())
    return [path for path in (last_try(sweep, number) for number in numbers) if path is not None]


def read_outcome(folder: Path) -> dict[str, Any] | None:
    """What a job's folder says; None if nothing, or that was torn or edited."""
    try:
        noted = json.loads((folder / OUTCOME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    kinds = {"config": dict, "status": str, "reason": str, "figures": dict, "code": int, "findings": list}
    kinds |= {"overrides": list, "varied": str, "repeat": str}
    if not isinstance(noted, dict) or any(not isinstance(noted.get(key), kind) for key, kind in kinds.items()):
        return None
    figures = {one_line(name, 80): value for name, value in noted["figures"].items() if _is_figure(value)}
    config = {one_line(key, 100): value for key, value in noted["config"].items() if _is_plain(value)}
    seed = noted.get("seed")
    told = {key: one_line(noted[key], 300) for key in ("status", "reason", "varied")}
    findings = [one_line(name, 60) for name in noted["findings"]]
    number, _, again = folder.name.partition("-")
    where = {"job": int(number), "try": int(again or 1), "folder": folder.name}  # whatever it says of that
    return noted | told | where | {
        "figures": figures, "findings": findings, "seconds": _number(noted.get("seconds")),
        "key": one_line(noted.get("key"), 100), "config": config, "seed": seed if type(seed) is int else None,
        MEASURED_ON: _measured_on(noted.get(MEASURED_ON)),
        "code": noted["code"] if 0 <= noted["code"] < 256 else 1, "overrides": list(map(str, noted["overrides"])),
    }  # fmt: skip


def _is_figure(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < LARGEST


def _is_plain(value: Any, depth: int = 4) -> bool:
    """Whether it is what a key of a command line can be set to."""
    if isinstance(value, list | dict):
        inner = value.values() if isinstance(value, dict) else value
        return depth > 0 and all(_is_plain(each, depth - 1) for each in inner)
    return value is None or isinstance(value, str | bool) or _is_figure(value)


def describe(job: Job, settings: Settings, folder: Path | None, status: str, reason: str) -> dict[str, Any]:
    """The content of `outcome.json`."""
    record = {} if folder is None else read_record(folder)
    threads = record.get("threads")
    given = any(override.startswith("threads=") for override in job.overrides)
    exactly = [f"threads={threads}"] if isinstance(threads, int) and not given else []  # part of what a run computes
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
        "figures": chosen_figures(folder).figures if folder is not None else {},
        MEASURED_ON: _measured_on(record.get(MEASURED_ON)),
        "seconds": _number(ended.get("seconds")) if isinstance(ended, dict) else 0.0,
        "folder": folder.name if folder is not None else None,
        "code": 0 if status in ("done", "not run") else 4 if status in WORSE else 130 if status == "stopped" else 1,
    }


def _measured_on(value: Any) -> dict[str, Any]:
    """What figures were measured on, of a file that anybody may have edited; nothing of runs from before."""
    return value if isinstance(value, dict) and all(isinstance(part, dict) for part in value.values()) else {}


def _ended(folder: Path) -> str | None:
    """What the run wrote of its end, if it came to that."""
    ended = read_record(folder).get("ended")
    return str(ended.get("status")) if isinstance(ended, dict) else None


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and 0 <= value < 1e12 else 0.0


def _findings(folder: Path) -> list[str]:
    """Names of what the health watch found, in order, each once."""
    return list(dict.fromkeys(name for line in read_metrics(folder) for name in line.get("findings", ())))
