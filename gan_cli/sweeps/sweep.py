"""`gan-train -m`: every combination in a process of its own, some at a time; a leaderboard tells how they went.

The same command again goes on with what is missing. A launcher or sweeper of Hydra's, if named, drives the jobs
instead (`multirun.py`); they, and what comes of them, are the same.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gan_cli.errors import GanCliError, counted
from gan_cli.plugins.option_sources import tell_taken
from gan_cli.reports.page import place_for
from gan_cli.reports.report import write_sweep_report
from gan_cli.runs.comparability import changes_basis
from gan_cli.sweeps import leaderboard
from gan_cli.sweeps.combinations import compose_sweep
from gan_cli.sweeps.jobs import Children, run_job, say
from gan_cli.sweeps.outcomes import FINAL, Job, last_tries, outcome_of, read_outcome
from gan_cli.sweeps.plan import SWEEP, Sweep, claimed, plan

_writing = threading.Lock()


def sweep(arguments: Sequence[str], command: str) -> int:
    """Runs what is not done yet; 0 if all went well, else the first failed job's exit code, or that of the signal."""
    this = plan(compose_sweep("train", arguments), arguments, command)
    tell_taken("train")
    had_output = this.parent.parent.exists()
    children = Children()
    with claimed(this) as (this, begun), children:
        waiting = [job for job in this.jobs if outcome_of(job, this.settings)["status"] not in FINAL]
        _introduce(this, waiting, begun=begun)
        if this.hydra:
            from gan_cli.sweeps.hydra_launcher import run_through_hydra

            try:
                run_through_hydra(this, children)
            except Exception:
                if not begun and not last_tries(this.settings.folder):
                    _remove_empty(this.settings.folder, had_output=had_output)  # it is Hydra that could not
                raise
        else:
            _run_all(this, waiting, children)
        board = publish(this)
        leaderboard.tell(this.settings.folder, board)
        print(f"report: {place_for(this.settings.folder)}", flush=True)
    if children.received is not None:
        return 128 + children.received
    return next((outcome["code"] for outcome in board["jobs"] if outcome["code"] != 0), 0)


def _introduce(this: Sweep, waiting: Sequence[Job], *, begun: bool) -> None:
    folder, count = this.settings.folder, len(this.jobs)
    if this.brought:
        print(f"brought along: {', '.join(this.brought)}")
    if this.told:
        print(this.told)
    if not count:
        print(f"sweep: {folder}" + (": trials that were run before are not run again" if begun else ""), flush=True)
        return
    print(f"sweep: {folder}: {counted(count, 'job')}" + (f", {this.at_once} at a time" if this.at_once > 1 else ""))
    ranked_by = this.settings.ranked_by[0]
    moving = [key for key in _varied(this.jobs) if changes_basis(key, ranked_by)]
    if moving and not this.told:
        print(f"not ranked where {ranked_by} is measured on something else, as it may be with each {', '.join(moving)}")
    if begun:
        statuses = [outcome_of(job, this.settings)["status"] for job in this.jobs]
        again = [job.number for job in waiting]
        told = ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))
        print(f"begun before: {told}; " + (f"runs {_listed(again)}" if again else "nothing is left to run"))
        if any(status in FINAL[1:] for status in statuses) or not again:
            print("what ended by itself would end so again; fresh=true begins another sweep")
    print(end="", flush=True)


def _varied(jobs: Sequence[Job]) -> list[str]:
    """The keys that have several values."""
    values: dict[str, set[str]] = {}
    for job in jobs:
        for key, value in job.config.items():
            values.setdefault(key, set()).add(repr(value))
    return [key for key, found in values.items() if len(found) > 1]


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:20]))
    return f"job{'' if len(numbers) == 1 else 's'} {shown}{' ...' if len(numbers) > 20 else ''}"


def _run_all(this: Sweep, jobs: Sequence[Job], children: Children) -> None:
    def run(job: Job) -> None:
        if children.received is None:
            outcome = run_job(job, this.settings, children)
            publish(this)
            say(f"job {job.number} {outcome['status']}, {outcome['seconds']:.0f} s")

    with ThreadPoolExecutor(this.at_once) as pool:
        for future in [pool.submit(run, job) for job in jobs]:
            future.result()


def publish(this: Sweep) -> dict[str, Any]:
    """Writes the leaderboard as things stand, and its page; what is in it. A disk that is full ends no sweep."""
    folder = this.settings.folder
    with _writing:
        outcomes = [outcome_of(job, this.settings) for job in this.jobs] or searched(folder)
        board = leaderboard.build(this.command, this.settings.ranked_by, outcomes)
        try:
            leaderboard.write(folder, board)
            write_sweep_report(folder)
        except OSError as error:
            print(f"warning: {error.filename or folder}: cannot be written ({error.strerror})", flush=True)
        except GanCliError as error:
            print(f"warning: no report: {error}", flush=True)
    return board


def searched(folder: Path) -> list[dict[str, Any]]:
    """The outcomes of trials, whose number nobody knew before."""
    return [each for each in map(read_outcome, last_tries(folder)) if each is not None]


def _remove_empty(folder: Path, *, had_output: bool) -> None:
    made = [folder, folder.parent, *([] if had_output else [folder.parent.parent])]
    with contextlib.suppress(OSError):  # a folder that holds anything else stays
        for name in (SWEEP, ".lock"):
            (folder / name).unlink(missing_ok=True)
        for path in made:
            path.rmdir()
