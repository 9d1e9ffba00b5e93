"""The end of a run: its record and its report, and what is missing of them in a run that was interrupted there.

A run may be interrupted at any point of its end, or a full disk may prevent a file. Each part of the end is made only
if it is missing, so a resumed run completes the end whatever was done of it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from gan_cli.errors import one_line
from gan_cli.reports.html_page import NAME as REPORT
from gan_cli.reports.write_report import write_run_report
from gan_cli.runs.comparability import BASIS_KEY
from gan_cli.runs.log import read_metrics
from gan_cli.runs.pending_work import Due, parse_due
from gan_cli.state.checkpoint import Checkpoint
from gan_cli.storage.run_folder import CHECKPOINTS, LAST, METRICS, RECORD, SAMPLES, read_record, write_record
from gan_cli.storage.run_record import load_record
from gan_cli.training.periodic_evaluation import describe_comparison, measured_on
from gan_cli.training.run import Run
from gan_cli.training.sample_grids import PROGRESS, REAL, grid_path, is_written

FINAL = ("done", "diverged", "collapsed")  # statuses of a run that would end in the same way again


def finish(run: Run, status: str) -> None:
    """Records how the run ended, and writes its report, even if the record cannot be written.

    Until the report is written, the record lists it among the files that are missing.
    """
    images = (grid_path(run), run.folder / PROGRESS)
    missing = [str(path.relative_to(run.folder)) for path in images if path in run.unwritten]
    try:
        _record_end(run, status, [*missing, REPORT])
    finally:
        written = _write_report(run)
    if written:
        _record_end(run, status, missing)


def _record_end(run: Run, status: str, missing: list[str]) -> None:
    """Writes to the run's record how it ended: the status, the steps, the seconds, the findings, the missing files."""
    counters = run.state.counters
    ended = {
        "status": status,
        "step": counters.step,
        "total_steps": counters.total_steps,
        "seconds": round(run.state.seconds, 3),
        **({"missing": missing} if missing else {}),
    }
    more: dict[str, Any] = {
        "findings": [dataclasses.asdict(found) for found in run.health.findings],
        BASIS_KEY: measured_on(run),
        "compared_with": describe_comparison(run.reference, run.config.evaluation.metrics),
    }
    write_record(run.folder, read_record(run.folder) | {"ended": ended, **more})


def _write_report(run: Run) -> bool:
    """Writes the run's HTML report. Any error is only logged as a warning, because it must not make the run fail."""
    try:
        run.log.info(f"report: {write_run_report(run.folder)}")
    except Exception as error:
        run.log.info(f"warning: the report was not written ({one_line(error, 200)})")
        return False
    return True


def due_work(folder: Path, saved: Checkpoint, *, at_end: bool) -> Due | None:
    """Returns the work with which a run begins that is resumed from this checkpoint, None if it has none.

    `at_end` says that the run has no more steps to do. Its last step always ends with a grid of samples.
    """
    step, d_updates = saved.counters.step, saved.counters.d_updates
    due = parse_due(saved.due, step, d_updates)
    if at_end:
        due = due or Due(step=step, d_updates=d_updates, evaluate=False, sample=True, values=None, ended=True)
        return dataclasses.replace(due, sample=True, ended=True)
    return due if missing_parts(folder, saved) else None  # a run that was complete and gets more steps now has none


def missing_parts(folder: Path, saved: Checkpoint) -> list[str]:
    """Returns the names of files that a run lacks, or in which a part is missing, after its last step `saved`.

    Only the record counts if the checkpoint has no list of due work, as those of earlier versions: their end may have
    other files, and the data to make them may be gone.
    """
    step, record = saved.counters.step, load_record(folder)
    if record.status not in FINAL or record.step != step:
        return [RECORD]
    due = parse_due(saved.due, step, saved.counters.d_updates)
    if due is None or record.status != "done":
        return []
    names = [f"{CHECKPOINTS}/{LAST}", f"{SAMPLES}/{REAL}", f"{SAMPLES}/step_{step:08d}.png", PROGRESS, REPORT]
    missing = [name for name in names if not is_written(folder / name)]
    if due.values is not None and all(line["step"] != step or "text" in line for line in read_metrics(folder)):
        missing.append(METRICS)
    return [*dict.fromkeys([*missing, *record.missing])]
