"""Kills and stops single jobs of a sweep, which goes on, and then gives the same command again."""

from __future__ import annotations

import json
import signal
from functools import partial
from pathlib import Path

from torture import in_jobs
from torture.scenarios import SCENARIOS, only_run, reference
from torture.signals import CODES
from torture.verify import State, differences, state_of, stray_files
from torture.worker import Ended, Trial

SWEEP = SCENARIOS["sweep"]
JOBS = 2
SENT = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, *CODES)
KILLED = [("killed", 128 + number) for number in (signal.SIGKILL, signal.SIGPROF)]  # the second after CPU time


def interrupted_job(trial: Trial) -> None:
    """Kills or stops a job at a random call or instant. The sweep must record it, run the others, and complete it."""
    calls, seconds = trial.bench.once(("jobs of a sweep",), _record)
    expected = last_attempts(reference(trial, "sweep", SWEEP).states[0])
    sent = SENT[trial.index % len(SENT)]
    job, together = trial.random.randrange(JOBS), trial.random.randint(1, JOBS)
    call, cpu = trial.random.randint(1, calls), trial.random.uniform(0.02, seconds)
    at_call = trial.random.random() < 0.5
    when = {"call": call} if at_call else {"cpu": cpu}
    trial.note = f"{signal.Signals(sent).name} to job {job}, {together} at a time, {when}"
    chosen = ", ".join(f"{key}={value}" for key, value in when.items())
    before = partial(in_jobs.install, trial.folder, f"interrupt({str(trial.folder)!r}, {job}, {int(sent)}, {chosen})")
    arguments = (*SWEEP.arguments, f"jobs={together}")
    _check_record(trial, sent, trial.run("train", *arguments, before=before))
    ended = trial.run("train", *arguments)
    if ended.code:
        trial.fault("wrong", f"the same command again: exit code {ended.code}, {ended.last_line}")
    trial.faults += differences(last_attempts(state_of(only_run(trial))), expected, older=False)
    trial.faults += stray_files(trial.folder)


def _record(shared: Trial) -> tuple[int, float]:
    """Returns how many calls a job makes that change files, and how many CPU seconds it takes."""
    before = partial(in_jobs.install, shared.folder, f"record({str(shared.folder)!r})")
    ended = shared.run("train", *SWEEP.arguments, before=before)
    if ended.code:
        raise RuntimeError(ended.last_line)
    calls = len((shared.folder / "events-0").read_text().splitlines())
    return calls, float((shared.folder / "cpu-0").read_text())


def last_attempts(state: State) -> State:
    """Returns the state of a sweep with the files of each job's last attempt alone, named as those of the first."""
    newest: dict[str, int] = {}
    for path in state:
        job, _, attempt = path.partition("/")[0].partition("-")
        if job.isdecimal():
            newest[job] = max(newest.get(job, 1), int(attempt or 1))
    kept = {}
    for path, value in state.items():
        folder, _, rest = path.partition("/")
        job, _, attempt = folder.partition("-")
        if not job.isdecimal():
            kept[path] = value
        elif int(attempt or 1) == newest[job]:
            kept[f"{job}/{rest}"] = value
    return kept


def _check_record(trial: Trial, sent: int, ended: Ended) -> None:
    """Checks that all jobs are done but the one that got the signal, whose exit code is also that of the sweep."""
    allowed = KILLED if sent == signal.SIGKILL else [("stopped", CODES[signal.Signals(sent)])]
    folder = only_run(trial)
    found = [_outcome(folder, number) for number in range(JOBS)]
    failed = [each for each in found if each != ("done", 0)]
    if len(failed) > 1 or any(each not in allowed for each in failed):
        trial.fault("wrong", f"outcomes {found} after {signal.Signals(sent).name}")
    code = failed[0][1] if failed else 0
    if ended.code != code:
        trial.fault("wrong", f"exit code {ended.code}, not {code}: {ended.last_line}")
    board = json.loads((folder / "leaderboard.json").read_text())
    listed = sorted(job["status"] for job in board["jobs"])
    if listed != sorted(status for status, _ in found):
        trial.fault("wrong", f"the leaderboard says {listed}")


def _outcome(folder: Path, job: int) -> tuple[str, int]:
    """Returns the status and the exit code in the file of a job."""
    try:
        outcome = json.loads((folder / str(job) / "outcome.json").read_text())
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}", 0
    return outcome["status"], outcome["code"]
