"""Writes the leaderboard and the report of a sweep, again after each job."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from gan_cli.errors import GanCliError
from gan_cli.reports.write_report import write_sweep_report
from gan_cli.sweeps import leaderboard, leaderboard_tables
from gan_cli.sweeps.outcomes import Outcome, last_attempts, load_outcome, read_outcome
from gan_cli.sweeps.plan import Sweep

_writing = threading.Lock()


def write_leaderboard(this: Sweep) -> dict[str, Any]:
    """Writes the leaderboard and the report of the outcomes so far, and returns the leaderboard.

    If they cannot be written, for example because the disk is full, prints a warning and raises no error.
    """
    folder = this.settings.folder
    with _writing:
        outcomes = [load_outcome(job, this.settings) for job in this.jobs] or trial_outcomes(folder)
        board = leaderboard.build_board(this.command, this.settings.ranked_by, outcomes)
        try:
            leaderboard_tables.write_board(folder, board)
            write_sweep_report(folder)
        except OSError as error:
            print(f"warning: {error.filename or folder}: cannot be written ({error.strerror})", flush=True)
        except GanCliError as error:
            print(f"warning: no report: {error}", flush=True)
    return board


def trial_outcomes(folder: Path) -> list[Outcome]:
    """Returns the outcomes of the trials found in the folder of a search, whose jobs are not known in advance."""
    return [each for each in map(read_outcome, last_attempts(folder)) if each is not None]
