"""`gan-report`: writes one self-contained HTML file for a run or a sweep. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from gan_cli.config.options.commands import ReportConfig
from gan_cli.errors import UsageError
from gan_cli.reports.html_page import NAME, choose_report_path, write_page
from gan_cli.reports.run_page import build_run_page
from gan_cli.reports.sweep_page import build_sweep_page, list_runs
from gan_cli.storage.locate import find_run_or_sweep, is_sweep
from gan_cli.storage.output_file import check_overwrite, claim_unused, keep_as, output_file, output_folder


def report(config: ReportConfig) -> int:
    """Writes the report of each given folder, for a sweep also those of its runs, and prints the paths."""
    if not config.paths:
        raise UsageError("no run is given: name the folder of a run or a sweep, or outputs/<name>, as gan-report RUN")
    folders = list(dict.fromkeys(find_run_or_sweep(path) for path in config.paths))
    if config.out is not None and len(folders) > 1:
        raise UsageError(f"out={config.out}: is one file, but {len(folders)} folders are given: give one")
    named = output_file(config.out, ".html", "gan-report")
    check_overwrite(named, [], config.overwrite)
    for folder in folders:
        for run in list_runs(folder) if is_sweep(folder) else ():
            write_run_report(run)
        write = write_sweep_report if is_sweep(folder) else write_run_report
        path = (
            write(folder) if config.out is None else _write_out(folder, config.out, named, overwrite=config.overwrite)
        )
        print(f"report: {path}", flush=True)
    return 0


def _write_out(folder: Path, out: str, named: Path | None, *, overwrite: bool) -> Path:
    """Writes the report of a run or sweep to the file `named`, or under an unused name in the folder `out`."""
    parent = Path(out) if named is None else named.parent
    build = build_sweep_page if is_sweep(folder) else build_run_page
    with output_folder(parent) as temporary:
        part = temporary / NAME
        part.write_bytes(build(folder, parent))
        if named is None:
            return claim_unused(part, parent, "report", ".html")
        keep_as(part, named, overwrite=overwrite)
        return named


def write_run_report(run: Path) -> Path:
    """Writes `report.html` in a run's folder, without its invalid files. StorageError if that fails."""
    return write_page(build_run_page(run, run), choose_report_path(run))


def write_sweep_report(sweep: Path) -> Path:
    """Writes `report.html` in a sweep's folder. StorageError if it cannot be written."""
    return write_page(build_sweep_page(sweep, sweep), choose_report_path(sweep))
