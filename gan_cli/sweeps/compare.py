"""`gan-compare`: prints runs side by side, with the config keys that differ and the results. Imports no torch."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from gan_cli.config.metric_names import better_direction, ranking_value
from gan_cli.config.options.commands import CompareConfig
from gan_cli.config.train_config import flatten
from gan_cli.config.validation import format_value
from gan_cli.errors import UsageError, count_noun, format_number, one_line
from gan_cli.runs.best_metrics import read_best_metrics
from gan_cli.runs.comparability import METRIC_KINDS, describe_differences, explain_incomparable, find_bases
from gan_cli.storage.evaluation_file import EvaluationResult, MetricResult, load_newest_evaluation
from gan_cli.storage.locate import find_run_or_sweep, is_sweep
from gan_cli.storage.output_file import check_overwrite, writing_to
from gan_cli.storage.run_folder import RECORD, write_text
from gan_cli.storage.run_record import load_record
from gan_cli.sweeps.outcomes import last_attempts

# Endings of metric names: of a run's best checkpoint (else its last one), and of its newest gan-eval.
SOURCES = BEST_CHECKPOINT, NEWEST_EVALUATION = "", " (gan-eval)"
MAX_RUNS = 100
RUNS_PER_TABLE = 5
# Keys that are not shown, because they say where a run and its files are, not what it trains.
IGNORED_KEYS = ("name", "output", "resume", "dataset.cache", "data", "on_changed_data", "resume_strict")


@dataclass(frozen=True)
class ComparedRun:
    """The parts of a run that the comparison shows.

    `config` maps dotted config keys to values. `last` holds the last value of each logged metric, and `findings` the
    names of the health findings. For each of SOURCES, `metrics` holds the metrics by name, and `measured_on` what each
    kind of metric was measured on, if that is known.
    """

    folder: Path
    config: dict[str, Any]
    status: str
    findings: list[str]
    last: dict[str, float]
    metrics: dict[str, dict[str, MetricResult]]
    measured_on: dict[str, Any]


def compare(config: CompareConfig) -> int:
    """Prints the comparison, writes it to the CSV file `out` if that is set, and returns 0.

    Raises UsageError if there are fewer than two or more than MAX_RUNS runs, or if `out` cannot be used.
    """
    if config.out is not None and not config.out.lower().endswith(".csv"):
        raise UsageError(f"out={config.out}: the table is written as a .csv file, give such a name")
    file = None if config.out is None else Path(os.path.expanduser(config.out))
    check_overwrite(file, (), config.overwrite)
    folders = list(dict.fromkeys(run for path in config.paths for run in _find_runs(path)))
    if len(folders) < 2:
        raise UsageError(
            "expected two different runs or more, as gan-compare outputs/NAME/DATE outputs/NAME/DATE, or a sweep"
        )
    if len(folders) > MAX_RUNS:
        raise UsageError(f"{count_noun(len(folders), 'run')}: at most {MAX_RUNS} are compared; name some of them")
    runs = [_read_run(folder) for folder in folders]
    console = Console()
    for start in range(0, len(runs), RUNS_PER_TABLE):
        console.print(_table(runs, runs[start : start + RUNS_PER_TABLE]))
    for line in _incomparable_lines(runs):
        console.print(Text(line), soft_wrap=True)
    if file is not None:
        _write_csv(runs, file)
        print(file)
    return 0


def _find_runs(named: str) -> list[Path]:
    """Returns the folder of the run that `named` names; for a sweep, the last run of each job. UsageError if none."""
    folder = find_run_or_sweep(named)
    if not is_sweep(folder):
        return [folder]
    found = [run for run in last_attempts(folder) if (run / RECORD).is_file()]
    if not found:
        raise UsageError(f"{named}: none of this sweep's jobs has begun a run")
    return found


def _read_run(folder: Path) -> ComparedRun:
    record, measured = load_record(folder), read_best_metrics(folder)
    trained = {
        name: MetricResult(name, value, n=0)
        for name, value in measured.metrics.items()
        if better_direction(name) or _is_of_training(name)
    }
    evaluated = load_newest_evaluation(folder) or EvaluationResult((), {})
    basis = dict.fromkeys(METRIC_KINDS, evaluated.about.get("basis"))
    return ComparedRun(
        folder,
        config=dict(flatten(record.config)),
        status=record.status or "not ended",
        findings=measured.findings,
        last=measured.last,
        metrics={BEST_CHECKPOINT: trained, NEWEST_EVALUATION: {metric.name: metric for metric in evaluated.figures}},
        measured_on={BEST_CHECKPOINT: record.measured_on, NEWEST_EVALUATION: basis},
    )


def _is_of_training(name: str) -> bool:
    return name.startswith("loss/") or name == "images_per_second"


# --- the table ---------------------------------------------------------------------------------------------------


def _table(runs: Sequence[ComparedRun], some: Sequence[ComparedRun]) -> Table:
    """Returns a table of the runs in `some`. The rows are chosen from all `runs`: all tables have the same rows."""
    table = Table(Column(overflow="fold"), *(Column(Text(one_line(run.folder, 200)), overflow="fold") for run in some))
    for key in _differing_keys(runs):
        table.add_row(Text(one_line(key, 80)), *(Text(format_value(run.config.get(key))) for run in some))
    table.add_section()
    for name, cell in _SUMMARY_ROWS.items():
        table.add_row(name, *(Text(cell(run)) for run in some))
    for source in SOURCES:
        table.add_section()
        for name in _metric_names(runs, source):
            best = _best(runs, source, name)
            cells = [_value_cell(run.metrics[source].get(name), best) for run in some]
            table.add_row(Text(one_line(name + source, 80)), *cells)
    return table


def _write_csv(runs: Sequence[ComparedRun], path: Path) -> None:
    """Writes the content of the tables, with all digits and a row for each run. StorageError if that fails."""
    rows = []
    for run in runs:
        row = {"run": str(run.folder), **{key: format_value(run.config.get(key)) for key in _differing_keys(runs)}}
        row |= {"status": run.status, "findings": " ".join(run.findings)}
        row |= {name: repr(run.last[name]) for name in ("step", "seconds") if name in run.last}
        for source, metrics in run.metrics.items():
            row |= {name + source: repr(metrics[name].value) for name in sorted(metrics, key=_is_of_training)}
        rows.append(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), restval="")
    writer.writeheader()
    writer.writerows(rows)
    with writing_to(path):
        write_text(path, text.getvalue())


_SUMMARY_ROWS: dict[str, Callable[[ComparedRun], str]] = {
    "status": lambda run: run.status,
    "steps": lambda run: f"{run.last['step']:,.0f}" if "step" in run.last else "",
    "seconds": lambda run: f"{run.last['seconds']:,.1f}" if "seconds" in run.last else "",
    "findings": lambda run: "\n".join(one_line(name, 60) for name in run.findings),
}


def _differing_keys(runs: Sequence[ComparedRun]) -> list[str]:
    """Returns the config keys whose values differ between runs, in the order of the config."""
    keys = dict.fromkeys(key for run in runs for key in run.config if key not in IGNORED_KEYS)
    return [key for key in keys if len({format_value(run.config.get(key)) for run in runs}) > 1]


def _metric_names(runs: Sequence[ComparedRun], source: str) -> list[str]:
    """Returns the names of the metrics from this source; losses and speed are the last ones."""
    return sorted(dict.fromkeys(name for run in runs for name in run.metrics[source]), key=_is_of_training)


def _best(runs: Sequence[ComparedRun], source: str, name: str) -> float | None:
    """Returns the best value of a metric, or None if the metric cannot rank these runs or only one of them has it."""
    values = [run.metrics[source][name].value for run in runs if name in run.metrics[source]]
    if not better_direction(name) or len(values) < 2 or _basis_differences(runs, source, name):
        return None
    return min(values, key=partial(ranking_value, name))


def _basis_differences(runs: Sequence[ComparedRun], source: str, name: str) -> list[str]:
    """Returns how the measurements of this metric differ between runs. If they do, no value is marked as the best."""
    some = [run for run in runs if name in run.metrics[source]]
    if not better_direction(name) or len(some) < 2:
        return []
    measured = [(run.measured_on[source], run.config, {"n": run.metrics[source][name].n}) for run in some]
    return describe_differences(find_bases(name, measured))


def _incomparable_lines(runs: Sequence[ComparedRun]) -> list[str]:
    """Returns one line for each reason why some metrics of these runs cannot be compared."""
    lines = []
    for source in SOURCES:
        reasons: dict[tuple[str, ...], list[str]] = {}
        for name in _metric_names(runs, source):
            why = tuple(_basis_differences(runs, source, name))
            reasons.setdefault(why, []).append(one_line(name, 80))
        lines += [f"not compared{source}: {explain_incomparable(some, why)}" for why, some in reasons.items() if why]
    return lines


def _value_cell(metric: MetricResult | None, best: float | None) -> Text:
    """Returns the value and, if it is known, the 95 % interval of a metric, for example `3.21 (3.1 to 3.4)`."""
    if metric is None:
        return Text()
    interval = "" if metric.interval is None else f" ({' to '.join(map(format_number, metric.interval))})"
    return Text(f"{format_number(metric.value)}{interval}", style="bold" if metric.value == best else "")
