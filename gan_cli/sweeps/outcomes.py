"""The jobs of a sweep and their outcomes. Imports no torch.

The outcome of a job is read from its `outcome.json`. If that file is missing, it is derived from the job's run folder.
"""

from __future__ import annotations

import shlex
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue, computed_field

from gan_cli.config.metric_names import NEAR_ONE, better_direction, find_metric, ranking_value
from gan_cli.errors import LostProcessError, one_line
from gan_cli.runs.best_metrics import read_best_metrics
from gan_cli.stop_signals import STOP_CODES
from gan_cli.storage.json_files import FileModel, Number, Whole, line, read_as
from gan_cli.storage.run_folder import CHECKPOINTS, JOB_OUTCOME
from gan_cli.storage.run_record import load_record

Status = Literal["done", "diverged", "collapsed", "stopped", "killed", "refused", "raised", "exited", "not run"]
REFUSED_CODES = (2, 3, 5)  # exit codes of a run that did not begin
FAILED_TRAINING: tuple[Status, ...] = ("diverged", "collapsed")
# Jobs with these are not run again, because the result would be the same.
FINAL: tuple[Status, ...] = ("done", *FAILED_TRAINING)
RESUMABLE = ("stopped", "killed")  # statuses of jobs that can continue from their last checkpoint
# Of a job whose process left no exit code; 1 for other statuses.
EXIT_CODES: dict[Status, int] = {"done": 0, "not run": 0, "diverged": 4, "collapsed": 4, "stopped": 130}


class Job(FileModel):
    """One job of a sweep.

    `number` names the job's folder. `key` is a hash of the job's settings. `config` holds the values of the keys that
    vary in the sweep. `overrides` holds the command-line overrides of the job. `of_files` are overrides that set what
    files of options set, of the keys that a resumed job must name; they are not written to files.
    """

    model_config = ConfigDict(populate_by_name=True)

    number: Whole = Field(0, alias="job")
    key: Annotated[str, line(100)] = ""
    config: dict[Annotated[str, line(100)], JsonValue]
    seed: Whole | None = None
    overrides: list[str]
    of_files: list[str] = Field(default_factory=list, exclude=True)

    @property
    def sets_threads(self) -> bool:
        return any(override.startswith("threads=") for override in (*self.overrides, *self.of_files))

    @computed_field
    def varied(self) -> str:
        """The overrides of the keys that vary, as the user typed them, joined in one line."""
        typed = {override.partition("=")[0]: override for override in self.overrides}
        return one_line(" ".join(typed.get(key, key) for key in self.config), 300)


class Outcome(Job):
    """The outcome of the last attempt at a job: the content of `outcome.json`, and an entry of the leaderboard.

    `attempt` counts from 1; it is 0 if the job was not run. `repeat` is a command that repeats the run. `findings`
    holds the names of health findings. `figures` holds the metrics of the best checkpoint, `measured_on` says on what
    they were measured. `folder` is the name of the run folder in the sweep's folder. `code` is the exit code.
    """

    attempt: Whole = Field(1, alias="try")
    repeat: str
    status: Status
    reason: Annotated[str, line(300)]
    findings: list[Annotated[str, line(60)]]
    figures: dict[Annotated[str, line(80)], Number]
    measured_on: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    seconds: Annotated[Number, Field(ge=0, lt=1e12)] = 0.0
    folder: str | None = None
    code: Annotated[int, Field(strict=True, ge=0, lt=256)]


@dataclass(frozen=True)
class Sweep:
    """A planned sweep.

    `command` is the command line as typed. The sweep's `folder` is in `parent` and set when the sweep is opened;
    `earlier_parent` is where earlier versions had it, which named it after the first job alone.
    `fresh` is True if an earlier sweep with the same jobs must not be continued. `identity` is equal for two commands
    that mean the same sweep. `jobs` is empty if a sweeper such as Optuna chooses the values.

    `overrides` are the user's overrides for the jobs, and `added` are the overrides that the sweep adds to every job.
    `launcher` and `sweeper` hold the overrides of Hydra's launcher, if one starts the jobs, and of its sweeper. Each
    job gets the command-line `flags`. `ranked_by` names metrics in order of preference; `ranking_note` is printed
    before the first job. `parallel_jobs` run at a time, each with `threads` CPU threads (None: the job chooses).
    """

    command: str
    parent: Path
    fresh: bool
    identity: str
    jobs: list[Job]
    overrides: tuple[str, ...]
    added: tuple[str, ...]
    launcher: tuple[str, ...]
    sweeper: tuple[str, ...]
    ranked_by: tuple[str, ...]
    ranking_note: str = ""
    flags: tuple[str, ...] = ()
    parallel_jobs: int = 1
    threads: int | None = None
    folder: Path = Path()
    earlier_parent: Path | None = None

    @property
    def parents(self) -> list[Path]:
        """The folders that may have the sweep."""
        return list(dict.fromkeys([self.parent, self.earlier_parent or self.parent]))


def next_folder(job: Job, this: Sweep, before: Outcome) -> tuple[Path, bool]:
    """Returns the folder of the job's next run, and True if that is resumed. `before` is the job's last outcome."""
    if before.folder is None:
        return this.folder / str(job.number), False
    folder = this.folder / before.folder
    if before.status in RESUMABLE and any((folder / CHECKPOINTS).glob("*.safetensors")):
        return folder, True
    return this.folder / f"{job.number}-{before.attempt + 1}", False


def classify_exit(code: int, errors: str, folder: Path, *, stopping: bool) -> tuple[Status, str]:
    """Returns a job's status and the reason for that status, which is empty if the job is done.

    `code` is the exit code of the job's process, negative if a signal killed it. `errors` is the text of its standard
    error. `folder` is its run folder. `stopping` is True if the sweep received a signal and forwarded it to the job.
    """
    lines = [line for line in errors.splitlines() if line.strip()]
    last = one_line(lines[-1], 300) if lines else ""
    message = last.removeprefix("gan-train: ") if last.startswith("gan-train: ") else ""
    ended = load_record(folder).status
    if code == 0:
        return ("done", "") if ended == "done" else ("exited", "exit code 0 before it was done")
    # A job of several processes ends with 128 and the number of the signal that killed one of them.
    number = -code if code < 0 else 0 if code in STOP_CODES.values() else code - 128
    if 0 < number < signal.NSIG and number not in STOP_CODES:
        name = next((each.name for each in signal.Signals if each == number), f"signal {number}")
        return "killed", f"killed by {name}" if code < 0 else message or f"a process was killed by {name}"
    if code == LostProcessError.exit_code:
        return "killed", message or "lost a process"
    if code < 0 or code in STOP_CODES.values() or stopping:
        return "stopped", "stopped, and can be resumed"
    if code == 4:
        return "collapsed" if ended == "collapsed" else "diverged", message or last
    if code in REFUSED_CODES and message:
        return "refused", message
    if code == 1 and any(line.startswith("Traceback ") for line in lines):
        return "raised", f"raised {last}"
    return "exited", f"exit code {code}"


def load_outcome(job: Job, this: Sweep) -> Outcome:
    """Returns the outcome of the job's last attempt, from the record in its run folder if it left no `outcome.json`."""
    folder = last_attempt(this.folder, job.number)
    if folder is None or (folder.name == str(job.number) and not any(folder.iterdir())):  # the job has not begun
        return build_outcome(job, this, None, "not run", "")
    recorded = read_outcome(folder)
    if recorded is not None:
        return recorded
    ended = load_record(folder).status
    if ended not in FINAL:
        return build_outcome(job, this, folder, "stopped", "its sweep ended before it")
    return build_outcome(job, this, folder, ended, "" if ended == "done" else ended)


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


def read_outcome(folder: Path) -> Outcome | None:
    """Returns the content of a job's `outcome.json`, or None if the file is missing or a main entry is invalid.

    Job number and attempt are taken from the folder's name, not from the file.
    """
    found = read_as(Outcome, folder / JOB_OUTCOME)
    number, _, attempt = folder.name.partition("-")
    named = {"number": int(number), "attempt": int(attempt or 1), "folder": folder.name}
    return None if found is None else found.model_copy(update=named)


def trial_outcomes(folder: Path) -> list[Outcome]:
    """Returns the outcomes of the trials in the folder of a search, whose jobs are not known in advance."""
    return [each for each in map(read_outcome, last_attempts(folder)) if each is not None]


def build_outcome(job: Job, this: Sweep, folder: Path | None, status: Status, reason: str) -> Outcome:
    """Returns the outcome of a job from the files in its run folder. `folder` is None if the job was not run."""
    where = folder or this.folder / str(job.number)  # which is missing or empty if the job was not run
    record, measured = load_record(where), read_best_metrics(where)
    # The number of threads affects results.
    exactly = [] if record.threads is None or job.sets_threads else [f"threads={record.threads}"]
    return Outcome.model_construct(
        **dict(job),
        attempt=int(folder.name.partition("-")[2] or 1) if folder is not None else 0,
        repeat=shlex.join(["gan-train", *this.flags, *job.overrides, *exactly]),
        status=status,
        reason=one_line(reason, 300),
        findings=measured.findings,
        figures=measured.metrics,
        measured_on=record.measured_on,
        seconds=record.seconds or 0.0,
        folder=folder.name if folder is not None else None,
        code=EXIT_CODES.get(status, 1),
    )


def objective_value(outcome: Outcome, ranked_by: tuple[str, ...]) -> float | None:
    """Returns the value of the metric that ranks a job, which a sweeper such as Optuna takes as its objective.

    If the training failed (diverged or collapsed), returns infinity with the sign that means the worst value. Returns
    None if the job is not done or has none of the metrics.
    """
    if outcome.status in FAILED_TRAINING:
        return float("-inf" if better_direction(ranked_by[0]) == "higher" else "inf")
    found = (find_metric(outcome.figures, wanted) for wanted in ranked_by if outcome.status == "done")
    return next((_objective(*each) for each in found if each is not None), None)


def _objective(name: str, value: float) -> float:
    """Returns the value of a metric, or its distance from 1 if values near 1 are best. A search minimizes that."""
    return ranking_value(name, value) if better_direction(name) == NEAR_ONE else value
