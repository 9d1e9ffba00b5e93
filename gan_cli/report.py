"""`gan-report`: one HTML file of a run or a sweep, which opens from disk and loads nothing. Imports no torch."""

from __future__ import annotations

import os
from pathlib import Path

from gan_cli.commands import ReportConfig
from gan_cli.errors import StorageError, UsageError
from gan_cli.reports.page import is_ours, place_for, write_page
from gan_cli.reports.run_page import build_run_page
from gan_cli.reports.sweep_page import build_sweep_page, is_sweep, runs_of
from gan_cli.runfolder import CHECKPOINTS, RECORD, runs_in, sweeps_in


def report(config: ReportConfig) -> int:
    """Writes the page of each folder that is named, of a sweep also those of its runs, and prints where they are."""
    if not config.paths:
        raise UsageError("which run? give its folder, a sweep's, or outputs/<name>, as gan-report RUN")
    if config.out is not None and len(config.paths) > 1:
        raise UsageError(f"out={config.out}: is one file, and {len(config.paths)} folders are named: give one")
    folders = [_find(path) for path in config.paths]
    out = None if config.out is None else _checked(Path(config.out))
    for folder in folders:
        if is_sweep(folder):
            for run in runs_of(folder):
                write_run_report(run)
            print(f"report: {write_sweep_report(folder, out)}", flush=True)
        else:
            print(f"report: {write_run_report(folder, out)}", flush=True)
    return 0


def write_run_report(run: Path, out: Path | None = None) -> Path:
    """`report.html` in a run's folder, or `out`; StorageError if it cannot be written. Odd contents do no harm."""
    path = out or place_for(run)
    return write_page(build_run_page(run, path.parent), path)


def write_sweep_report(sweep: Path, out: Path | None = None) -> Path:
    """`report.html` in a sweep's folder, or `out`; StorageError if it cannot be written. Odd contents do no harm."""
    path = out or place_for(sweep)
    return write_page(build_sweep_page(sweep, path.parent), path)


def _find(named: str) -> Path:
    """The folder of a run or a sweep; of `outputs/<name>` the newest run, or the newest sweep if it holds no run."""
    folder = Path(os.path.expanduser(named))
    if not folder.is_dir():
        raise UsageError(f"{named}: no such folder; give that of a run, of a sweep, or outputs/<name>")
    if (folder / RECORD).is_file() or (folder / CHECKPOINTS).is_dir() or is_sweep(folder):
        return folder
    runs = runs_in(folder) or [path for path in sweeps_in(folder) if is_sweep(path)]
    if not runs:
        raise UsageError(f"{named}: holds no run and no sweep; give the folder of one, or outputs/<name>")
    return runs[0]


def _checked(out: Path) -> Path:
    """`out`, in a folder that is there; a file that is none of our reports stays."""
    if out.is_dir():
        raise UsageError(f"out={out}: is a folder, give a file, as {out / 'report.html'}")
    if not is_ours(out):
        raise UsageError(f"out={out}: is there already and is no report of ours, give another name")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"out={out}: its folder cannot be made ({error.strerror})") from error
    return out
