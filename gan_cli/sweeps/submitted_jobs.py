"""Submits the jobs of a sweep through submitit, to Slurm or to processes on this machine, and waits for them.

The launcher of hydra-submitit-launcher declares the keys. Its own `launch` is not used: it waits for the results one
after another, raises at the first job that was killed, and leaves the other jobs in the queue if the sweep is stopped.

Slurm ends a job at its time limit, or if it pre-empts the job for another one. Before that it sends USR2: the run saves
a checkpoint, and the job asks Slurm to queue it again. Where Slurm sends TERM alone, the run saves, and Slurm itself
queues the job again. In both cases the job finds its run and resumes it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from gan_cli.errors import UsageError, count_noun, one_line
from gan_cli.stop_signals import available_signals, handling
from gan_cli.storage.run_folder import write_json
from gan_cli.streams import tolerant_streams
from gan_cli.sweeps import stop_requests
from gan_cli.sweeps.jobs import JobProcesses, outcome_without_process, print_line, run_job
from gan_cli.sweeps.outcomes import FINAL, Job, Outcome, Sweep, load_outcome
from gan_cli.sweeps.stop_requests import read_stop_request, stopping_with_sweep

GPUS = "CUDA_VISIBLE_DEVICES"
RECORD = "jobs.json"  # in `.submitit`: where the files of each job are and its id at Slurm, as 1/123_0, by its number
UNFINISHED = ("PENDING", "RUNNING", "REQUEUED", "SUSPENDED", "COMPLETING", "PREEMPTED")  # states at Slurm
WAIT_AFTER_TERM = 600.0  # seconds for Slurm to end a job that it sent TERM; a job that ends itself is not queued again
FORCED_CHECK = 5.0  # seconds between two questions to Slurm while the sweep is being stopped
# The shell in front of a local job ignores these signals, as Ctrl-C in a terminal reaches all processes there. The job
# learns of them from the sweep.
LOCAL_SETUP = "trap '' INT HUP TERM"
SLURM_SETUP = "export PYTHONSAFEPATH=1"  # as isolated_process.py sets it: no module is imported from the current folder
SLURM_CORES = "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK"  # since Slurm 22.05, srun does not take it from sbatch


@dataclass
class SubmittedJob:
    """A job as submitit calls it, in a process of its own.

    `sweep_process` is the id of the sweep's process if that is on this machine; None for a job of Slurm. `environment`
    has variables of the sweep that submitit changes for a local job; None removes one. `restored` has the signals that
    the job must not ignore, though the shell that started it does.
    """

    this: Sweep
    job: Job
    sweep_process: int | None
    environment: dict[str, str | None]
    restored: tuple[signal.Signals, ...] = ()

    def __call__(self) -> None:
        """Runs the job. If the signal of submitit arrives meanwhile, asks for the job to be queued again."""
        for number in self.restored:
            signal.signal(number, signal.SIG_DFL)
        for name, value in self.environment.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        if load_outcome(self.job, self.this).status in FINAL:
            return
        warning = preemption_signal()
        queue_again: Any = signal.getsignal(warning)
        preempted: list[int] = []

        def preempt(number: int, frame: FrameType | None) -> None:
            preempted.append(number)
            if processes.received is None:
                processes.forward(signal.SIGUSR1)

        with tolerant_streams(), JobProcesses() as processes, handling(preempt, [warning]):
            outcome = self._run(processes)
            stopped_by_slurm = processes.received is not None and not read_stop_request(self.this.folder)
            if stopped_by_slurm and self.sweep_process is None and outcome is not None and outcome.status not in FINAL:
                _wait_for(preempted)
        if preempted and outcome is not None and outcome.status not in FINAL and stopped_by_slurm:
            queue_again(preempted[0], None)

    def _run(self, processes: JobProcesses) -> Outcome | None:
        """Runs the job and returns its outcome; None if the sweep was stopped before."""
        with stopping_with_sweep(self.this.folder, processes, self._sweep_is_dead):
            return None if read_stop_request(self.this.folder) else run_job(self.job, self.this, processes)

    def _sweep_is_dead(self) -> bool:
        if self.sweep_process is None:
            return False  # a job of Slurm goes on without the sweep, which may be continued
        try:
            os.kill(self.sweep_process, 0)
        except ProcessLookupError:
            return True
        return False

    def checkpoint(self) -> Any:
        """Returns what submitit runs when the job was queued again: the same, which resumes the run."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def preemption_signal() -> signal.Signals:
    """Returns the signal by which submitit is asked to queue a job again; SUBMITIT_PREEMPT_SIGNAL names another one."""
    return signal.Signals["SIG" + os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2")]


def _wait_for(preempted: Sequence[int]) -> None:
    """Waits until the signal of submitit arrives, or Slurm ends this process, but at most WAIT_AFTER_TERM seconds."""
    until = time.monotonic() + WAIT_AFTER_TERM
    while not preempted and time.monotonic() < until:
        time.sleep(0.1)


# --- in the sweep's process --------------------------------------------------------------------------------------


def run_submitted(this: Sweep, jobs: Sequence[Job], params: dict[str, Any], processes: JobProcesses) -> None:
    """Submits the jobs and waits until all have ended, also after a signal. `params` are the launcher's keys.

    On this machine, `this.parallel_jobs` run at a time. A later signal also cancels the jobs.
    """
    this = replace(this, jobs=[], folder=this.folder.absolute())
    submission = _Submission(this, params)
    waiting = submission.adopt(jobs)
    print_line(f"the output of each job is in {submission.folder}/")
    checked = time.monotonic()
    while submission.running or (waiting and processes.received is None):
        if processes.received is None:
            free = len(waiting) if submission.is_slurm else this.parallel_jobs - len(submission.running)
            submission.submit(waiting[:free])
            waiting = waiting[free:]
        else:
            submission.cancel(pending_only=not processes.killing)
        time.sleep(stop_requests.POLL_SECONDS)
        force = processes.received is not None and time.monotonic() - checked > FORCED_CHECK
        checked = time.monotonic() if force else checked
        submission.collect(stopping=processes.received is not None, force=force)


class _Submission:
    """The submitted jobs of a sweep. `running` maps the number of each one that has not ended to the job.

    `folder` has the files of submitit, among them the output of each job. It is new, because submitit loads pickles.
    """

    def __init__(self, this: Sweep, params: dict[str, Any]) -> None:
        self.is_slurm = "partition" in params
        self.running: dict[int, tuple[Job, Any]] = {}
        self._this, self._params = this, params
        parent = Path(params["submitit_folder"].replace("%j", ""))
        parent.mkdir(parents=True, exist_ok=True)
        self.folder = _create_numbered_folder(parent)
        self._record = parent / RECORD
        self._ids: dict[str, str] = {}
        self._cancelled: set[bool] = set()
        self._executor = self._build_executor()

    def _build_executor(self) -> Any:
        import submitit
        from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf

        cluster = "slurm" if self.is_slurm else "local"
        if self.is_slurm and (missing := [name for name in ("srun", "sbatch") if shutil.which(name) is None]):
            raise UsageError(f"hydra/launcher=submitit_slurm: {missing[0]} is not found; run the sweep where Slurm is")
        params = {key: value for key, value in self._params.items() if value is not None and key != "submitit_folder"}
        most = {f"{cluster}_max_num_timeout": params.pop("max_num_timeout", 100)}
        cores = [SLURM_CORES] if "cpus_per_task" in params else []
        setup = [*params.pop("setup", []), *cores, SLURM_SETUP] if self.is_slurm else [LOCAL_SETUP]
        executor = submitit.AutoExecutor(self.folder / "%j", cluster=cluster, **most)
        shared = BaseQueueConf.__dataclass_fields__
        named = {key if key in shared else f"{cluster}_{key}": value for key, value in params.items()}
        executor.update_parameters(**named, **{f"{cluster}_setup": setup})
        return executor

    def adopt(self, jobs: Sequence[Job]) -> list[Job]:
        """Takes the jobs that are still in Slurm's queue from a sweep that was killed. Returns the other jobs."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self._ids = {str(number): str(found) for number, found in json.loads(self._record.read_text()).items()}
        for job in jobs if self.is_slurm else ():
            known = re.fullmatch(r"(\d+)/(\d+(_\d+)?)", self._ids.get(str(job.number), ""))
            if known:
                from submitit import SlurmJob

                found: Any = SlurmJob(self._record.parent / known[1] / "%j", known[2])
                if found.watcher.get_state(found.job_id, mode="force").split(" ")[0] in UNFINISHED:
                    self.running[job.number] = job, found
        if self.running:
            print_line(f"{count_noun(len(self.running), 'job')} of this sweep still at Slurm: waiting for these")
        return [job for job in jobs if job.number not in self.running]

    def submit(self, jobs: Sequence[Job]) -> None:
        """Submits the jobs, to Slurm as one job array."""
        if not jobs:
            return
        process = None if self.is_slurm else os.getpid()
        sees_all = not self.is_slurm and self._params.get("gpus_per_node") is None
        environment = {GPUS: os.environ.get(GPUS)} if sees_all else {}
        local = () if self.is_slurm else available_signals("SIGINT", "SIGHUP")
        restored = tuple(number for number in local if signal.getsignal(number) is not signal.SIG_IGN)
        calls = [SubmittedJob(self._this, job, process, environment, restored) for job in jobs]
        with self._executor.batch():
            submitted = [self._executor.submit(call) for call in calls]
        for job, each in zip(jobs, submitted, strict=True):
            self.running[job.number] = job, each
            self._ids[str(job.number)] = f"{self.folder.name}/{each.job_id}"
            print_line(f"job {job.number}: {job.varied} (submitted{' to Slurm' * self.is_slurm} as {each.job_id})")
        write_json(self._record, self._ids)

    def cancel(self, *, pending_only: bool) -> None:
        """Cancels the jobs, or only those that have not begun. Those that have begun stop with the sweep."""
        if pending_only in self._cancelled or not self.is_slurm:
            return
        self._cancelled.add(pending_only)
        ids = [each.job_id for _, each in self.running.values()]
        state = ["--state=PENDING"] if pending_only else []
        for start in range(0, len(ids), 100):
            subprocess.run(["scancel", *state, *ids[start : start + 100]], check=False)

    def collect(self, *, stopping: bool, force: bool) -> None:
        """Removes the jobs that have ended, and prints how each ended. `force`: asks Slurm now."""
        for number, (job, submitted) in list(self.running.items()):
            if submitted.done(force_check=force):
                del self.running[number]
                reason = f"its process ended before it (submitit: {submitted.state})"
                outcome = load_outcome(job, self._this)
                if not stopping:
                    outcome = outcome_without_process(job, self._this, reason)
                line = f"job {number} {outcome.status}, {outcome.seconds:.0f} s"
                print_line(one_line(f"{line}: {outcome.reason}" if outcome.reason else line, 400))


def _create_numbered_folder(parent: Path) -> Path:
    """Creates the folder with the lowest number that is free, from 1, and returns it."""
    for number in itertools.count(1):
        with contextlib.suppress(FileExistsError):
            (parent / str(number)).mkdir()
            return parent / str(number)
    raise AssertionError
