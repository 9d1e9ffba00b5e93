"""`gan-report`: writes one self-contained HTML file for a run or a sweep. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from gan_cli.config.commands import ReportConfig
from gan_cli.errors import StorageError, UsageError
from gan_cli.reports.html_page import choose_report_path, write_page
from gan_cli.reports.run_page import build_run_page
from gan_cli.reports.sweep_page import build_sweep_page, list_runs
from gan_cli.storage.locate import find_run_or_sweep, is_sweep
from gan_cli.storage.output_file import check_overwrite, output_file, unused_path


def report(config: ReportConfig) -> int:
    """Writes the report of each given folder, for a sweep also those of its runs, and prints the paths."""
    if not config.paths:
        raise UsageError("no run is given: name the folder of a run or a sweep, or outputs/<name>, as gan-report RUN")
    folders = list(dict.fromkeys(find_run_or_sweep(path) for path in config.paths))
    if config.out is not None and len(folders) > 1:
        raise UsageError(f"out={config.out}: is one file, but {len(folders)} folders are given: give one")
    out = _checked(config)
    for folder in folders:
        for run in list_runs(folder) if is_sweep(folder) else ():
            write_run_report(run)
        write = write_sweep_report if is_sweep(folder) else write_run_report
        print(f"report: {write(folder, out)}", flush=True)
    return 0


def write_run_report(run: Path, out: Path | None = None) -> Path:
    """Writes `report.html` in a run's folder, or `out`, without its invalid files. StorageError if that fails."""
    path = out or choose_report_path(run)
    return write_page(build_run_page(run, path.parent), path)


def write_sweep_report(sweep: Path, out: Path | None = None) -> Path:
    """Writes `report.html` in a sweep's folder, or `out`. StorageError if it cannot be written."""
    path = out or choose_report_path(sweep)
    return write_page(build_sweep_page(sweep, path.parent), path)


def _checked(config: ReportConfig) -> Path | None:
    """The file that `out` means; its folder is created. None if `out` is not given."""
    named = output_file(config.out, ".html", "gan-report")
    check_overwrite(named, [], config.overwrite)
    if config.out is None:
        return None
    out = named or unused_path(Path(config.out), "report", ".html")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"out={config.out}: its folder cannot be created ({error.strerror})") from error
    return out
