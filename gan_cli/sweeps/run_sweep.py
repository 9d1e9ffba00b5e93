"""`gan-train -m`: runs each combination of the swept values in a separate process and writes a leaderboard.

Several jobs can run at a time. If the same command is given again, only the jobs that are not finished run. The jobs
may also be started by a launcher of Hydra, and chosen by a sweeper such as Optuna (`hydra_launcher.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from gan_cli.errors import count_noun, first_few
from gan_cli.plugins.option_sources import print_used_files
from gan_cli.reports.html_page import choose_report_path
from gan_cli.stop_signals import STOP_CODES, exit_on_signal
from gan_cli.storage.run_folder import sweeps_in
from gan_cli.sweeps.hydra_launcher import check_plugins, launch_jobs, search
from gan_cli.sweeps.jobs import JobProcesses, keep_outcome, run_job
from gan_cli.sweeps.leaderboard_tables import print_board, write_leaderboard
from gan_cli.sweeps.outcomes import FINAL, Job, Sweep, load_outcome
from gan_cli.sweeps.plan import plan
from gan_cli.sweeps.sweep_folder import open_sweep, read_sweep


def run_sweep(arguments: Sequence[str], command: str) -> int:
    """Runs the unfinished jobs of a sweep, writes and prints its leaderboard, and returns the exit code.

    The exit code is that of the signal that stopped the sweep, else that of the first job that failed, else 0.
    """
    with exit_on_signal():
        this = plan(arguments, command)
    if this.launcher or this.sweeper:
        check_plugins(this)
    print_used_files("train")
    processes = JobProcesses()
    with open_sweep(this) as (this, begun), processes:
        _print_plan(this, begun=begun)
        if this.sweeper:
            search(this, partial(_run_unfinished, this, processes), processes)
        else:
            _run_unfinished(this, processes, this.jobs)
        board = write_leaderboard(this)
        print_board(this.folder, board)
        print(f"report: {choose_report_path(this.folder)}", flush=True)
    if processes.received is not None:
        return STOP_CODES[processes.received]
    return next((outcome["code"] for outcome in board["jobs"] if outcome["code"] != 0), 0)


def _run_unfinished(this: Sweep, processes: JobProcesses, jobs: Sequence[Job]) -> None:
    """Runs those of the jobs that are not finished, and writes the leaderboard as they end."""
    waiting = [job for job in jobs if keep_outcome(job, this).status not in FINAL]
    if this.launcher and waiting:
        launch_jobs(this, waiting, processes)
        return

    def run(job: Job) -> None:
        if processes.received is None:
            run_job(job, this, processes)
            write_leaderboard(this)

    with ThreadPoolExecutor(this.parallel_jobs) as pool:
        for future in [pool.submit(run, job) for job in waiting]:
            future.result()


def _print_plan(this: Sweep, *, begun: bool) -> None:
    """Prints which jobs the sweep will run and how they are ranked. `begun` is True if the sweep is being continued."""
    folder, count = this.folder, len(this.jobs)
    if this.added:
        print(f"also set: {', '.join(this.added)}")
    if this.ranking_note:
        print(this.ranking_note)
    if not begun and not this.fresh and (other := _by_the_same_command(this)) is not None:
        print(
            f"{other} was begun by the same command, which now has other settings (another version of gan-cli, or other"
            " files of options): this is a new sweep"
        )
    if not count:
        print(f"sweep: {folder}" + (": earlier trials are not run again" if begun else ""), flush=True)
        return
    at_a_time = f", {this.parallel_jobs} at a time" if this.parallel_jobs > 1 else ""
    print(f"sweep: {folder}: {count_noun(count, 'job')}{at_a_time}")
    if begun:
        statuses = [load_outcome(job, this).status for job in this.jobs]
        again = [str(job.number) for job, status in zip(this.jobs, statuses, strict=True) if status not in FINAL]
        shown = f"job{'' if len(again) == 1 else 's'} {first_few(again, 20)}"
        counts = ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))
        print(f"begun before: {counts}; " + (f"runs {shown}" if again else "nothing is left to run"))
        if any(status in FINAL[1:] for status in statuses) or not again:
            print("finished jobs are not run again: their result would be the same; fresh=true begins another sweep")
    print(end="", flush=True)


def _by_the_same_command(this: Sweep) -> Path | None:
    """Returns the folder of the newest other sweep with the same name and command line, or None if there is none."""
    folders = [folder for parent in this.parents for folder in sweeps_in(parent) if folder != this.folder]
    found = ((folder, read_sweep(folder)) for folder in folders)
    return next((folder for folder, record in found if record is not None and record.command == this.command), None)
