"""Runs a sweep whose jobs are started by a Hydra launcher or sweeper, such as joblib, submitit or Optuna.

Each job runs in a separate process. The launcher's process waits for the job and returns the metric that ranks the
job. A sweeper such as Optuna uses that metric as its objective.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from gan_cli.config.compose import searchpath_overrides
from gan_cli.config.metric_names import better_direction, find_metric
from gan_cli.config.overrides import quote_for_hydra, quote_literals, read_override, unquote_literals
from gan_cli.config.search_path import config_folder
from gan_cli.errors import UsageError, one_line
from gan_cli.storage.run_folder import STOP_FILE
from gan_cli.sweeps.current_results import trial_outcomes, write_leaderboard
from gan_cli.sweeps.jobs import JobProcesses, run_job
from gan_cli.sweeps.outcomes import FAILED_TRAINING, FINAL, Job, load_outcome
from gan_cli.sweeps.plan import Sweep, short_hash

POLL_SECONDS = 0.2  # between two checks for a signal that another process received
# The jobs of the process that runs Hydra's loop; None in the launcher's other processes.
_sweep_processes: ContextVar[JobProcesses | None] = ContextVar("sweep_processes", default=None)


class SweepStopped(BaseException):
    """The sweep received a signal, and this process runs no job any more. The argument is the number of the signal.

    The class is a BaseException because Hydra would handle an Exception itself.
    """


@dataclass(frozen=True)
class HydraJob:
    """The function that Hydra calls for each job.

    `process` is the id of the process that runs Hydra's loop. The object holds only plain data, because a launcher may
    send it to another process.
    """

    sweep: Sweep
    process: int

    def __call__(self, config: DictConfig) -> float | None:
        """Runs the job with the overrides of this Hydra job, unless that job is finished, and returns its objective.

        Returns None if the objective is not known or the sweep was stopped. Raises SweepStopped after a signal if this
        process runs Hydra's loop.
        """
        stop_file = self.sweep.settings.folder / STOP_FILE
        main = _sweep_processes.get()
        if main is not None and main.received is not None:  # between two jobs
            raise SweepStopped(main.received)
        if stop_file.exists():
            return None
        job = self._job(HydraConfig.get().overrides.task, HydraConfig.get().job.num)
        outcome = load_outcome(job, self.sweep.settings)
        with JobProcesses() as processes, _share_signals(stop_file, processes):
            if outcome["status"] not in FINAL:
                outcome = run_job(job, self.sweep.settings, processes)
                write_leaderboard(self.sweep)
        if processes.received is not None:
            _write_signal(stop_file, processes.received)
            if os.getpid() == self.process:
                raise SweepStopped(processes.received)
        return objective_value(outcome, self.sweep.settings.ranked_by)

    def _job(self, lines: Sequence[str], number: int) -> Job:
        """Returns the planned job with these overrides.

        In a search no jobs are planned: returns the earlier trial with the same values, or else a new trial. `number`
        is Hydra's number for this job. A new trial gets that number, or the next one that is unused.
        """
        given = _values_of(lines)
        for job in self.sweep.jobs:
            if _values_of(map(quote_literals, job.overrides)) == given:
                return job
        fixed = _values_of((*self.sweep.overrides, *self.sweep.added))
        varied = {name: value for name, value in given.items() if name not in fixed or fixed[name] != value}
        key, folder = short_hash(given), self.sweep.settings.folder
        known = {outcome["key"]: outcome["job"] for outcome in trial_outcomes(folder)}
        while key not in known and not _create_trial_folder(folder / str(number)):
            number += 1
        typed = tuple(unquote_literals(line) for line in lines)
        return Job(known.get(key, number), key, varied, given.get("seed"), typed)


def _create_trial_folder(folder: Path) -> bool:
    """Creates a trial's folder. Returns False if the folder exists; another process may have just created it."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


@contextlib.contextmanager
def _share_signals(stop_file: Path, processes: JobProcesses) -> Iterator[None]:
    """While the context is active, passes a signal received by one process of the launcher to all its processes.

    The processes share the signal through `stop_file`, which holds the signal's number.
    """
    finished = threading.Event()

    def poll() -> None:
        while not finished.wait(POLL_SECONDS):
            number = _read_signal(stop_file)
            if processes.received is not None:
                _write_signal(stop_file, processes.received)
            elif number is not None:
                processes.forward(number)

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


def _write_signal(stop_file: Path, number: int) -> None:
    """Writes the signal's number to the file, unless the file exists already."""
    if not stop_file.exists():
        stop_file.write_text(str(number))


def _read_signal(stop_file: Path) -> int | None:
    """Returns the signal's number from the file, or None if the file does not exist or is not completely written."""
    try:
        return int(stop_file.read_text())
    except (OSError, ValueError):
        return None


def _values_of(lines: Iterable[str]) -> dict[str, Any]:
    """Returns the parsed value of each key in the overrides, so that two spellings of one value become equal."""
    return {override.key_or_group: override.value() for override in map(read_override, lines)}


def objective_value(outcome: dict[str, Any], ranked_by: tuple[str, ...]) -> float | None:
    """Returns the value of the metric that ranks a job.

    If the training failed (diverged or collapsed), returns infinity with the sign that means the worst value. Returns
    None if the job is not done or has none of the metrics.
    """
    if outcome["status"] in FAILED_TRAINING:
        return float("-inf" if better_direction(ranked_by[0]) == "higher" else "inf")
    if outcome["status"] != "done":
        return None
    found = (find_metric(outcome["figures"], wanted) for wanted in ranked_by)
    return next((each[1] for each in found if each is not None), None)


def run_through_hydra(this: Sweep, processes: JobProcesses) -> None:
    """Runs the sweep by Hydra's own loop. A signal that this process receives is stored in `processes`.

    Raises UsageError if Hydra or one of its plugins raises an error and no signal was received.
    """
    folder = this.settings.folder
    (folder / STOP_FILE).unlink(missing_ok=True)
    own = [f"hydra.sweep.dir={quote_for_hydra(str(folder.absolute()))}", *searchpath_overrides()]
    sys.argv = ["gan-train", "-m", *own, *this.hydra, *this.overrides, *this.added]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises errors instead of printing them and exiting with 1
    job = HydraJob(replace(this, hydra=()), os.getpid())
    token = _sweep_processes.set(processes)
    try:
        with _share_signals(folder / STOP_FILE, processes):
            hydra.main(config_path=str(config_folder()), config_name="train", version_base="1.3")(job)()
    except SweepStopped as stopped:
        processes.received = processes.received or stopped.args[0]
    except Exception as error:
        if processes.received is None:
            raise UsageError(one_line(str(error).split("Config search path")[0], 300)) from error
    finally:
        _sweep_processes.reset(token)
        (folder / STOP_FILE).unlink(missing_ok=True)
