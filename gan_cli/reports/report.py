"""`gan-report`: one HTML file of a run or a sweep, which opens from disk and loads nothing. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from gan_cli.config.commands import ReportConfig
from gan_cli.errors import StorageError, UsageError
from gan_cli.reports.page import place_for, write_page
from gan_cli.reports.run_page import build_run_page
from gan_cli.reports.sweep_page import build_sweep_page, runs_of
from gan_cli.storage.locate import find_run_or_sweep, is_sweep
from gan_cli.storage.output_file import check_free, file_of, fresh


def report(config: ReportConfig) -> int:
    """Writes the page of each folder that is named, of a sweep also those of its runs, and prints where they are."""
    if not config.paths:
        raise UsageError("which run? give its folder, a sweep's, or outputs/<name>, as gan-report RUN")
    if config.out is not None and len(config.paths) > 1:
        raise UsageError(f"out={config.out}: is one file, and {len(config.paths)} folders are named: give one")
    folders = [find_run_or_sweep(path) for path in config.paths]
    out = _checked(config)
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


def _checked(config: ReportConfig) -> Path | None:
    """The file that `out` stands for, in a folder that is there; None unless it is given."""
    named = file_of(config.out, ".html", "gan-report")
    check_free(named, [], config.overwrite)
    if config.out is None:
        return None
    out = named or fresh(Path(config.out), "report", ".html")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"out={config.out}: its folder cannot be made ({error.strerror})") from error
    return out
