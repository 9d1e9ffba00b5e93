"""`gan-compare`: prints runs side by side, with the config keys that differ and the results. Imports no torch."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from gan_cli.config.commands import CompareConfig
from gan_cli.config.metric_names import MetricResult, better_direction, load_newest_evaluation
from gan_cli.config.train_config import flatten
from gan_cli.config.validation import format_value
from gan_cli.errors import StorageError, UsageError, count_noun, one_line
from gan_cli.runs.best_metrics import read_best_metrics
from gan_cli.runs.comparability import (
    BASIS_KEY,
    basis_from_config,
    describe_differences,
    explain_incomparable,
    metric_basis,
)
from gan_cli.runs.log import read_metrics
from gan_cli.storage.locate import find_run_or_sweep
from gan_cli.storage.output_file import check_overwrite
from gan_cli.storage.run_folder import RECORD, read_record, write_text
from gan_cli.sweeps.outcomes import last_attempts
from gan_cli.sweeps.sweep_folder import read_sweep

MAX_RUNS = 100
RUNS_PER_TABLE = 5
# Keys that are not shown, because they say where a run and its files are, not what it trains.
IGNORED_KEYS = ("name", "output", "resume", "dataset.cache", "data", "on_changed_data")


@dataclass(frozen=True)
class ComparedRun:
    """The parts of a run that the comparison shows.

    `config` maps dotted config keys to values. `ended` is the record of how the run ended, empty if it has not ended.
    `findings` holds the names of its health findings. `last` holds the last logged `step` and `seconds`. `metrics`
    holds the metrics of the best checkpoint, or of the last one if no best was kept, and `measured_on` describes the
    data on which they were measured. `evaluated` holds the metrics of the newest `gan-eval` of the run, and
    `evaluated_on` describes the data of that evaluation.
    """

    folder: Path
    config: dict[str, Any]
    ended: dict[str, Any]
    findings: list[str]
    last: dict[str, float]
    metrics: dict[str, float]
    evaluated: dict[str, MetricResult]
    measured_on: Any = None
    evaluated_on: Any = None


def compare(config: CompareConfig) -> int:
    """Prints the comparison, writes it to the CSV file `out` if that is set, and returns 0.

    Raises UsageError if there are fewer than two or more than MAX_RUNS runs, or if `out` cannot be used.
    """
    if config.out is not None and not config.out.lower().endswith(".csv"):
        raise UsageError(f"out={config.out}: the table is written as a .csv file, give such a name")
    file = None if config.out is None else Path(config.out).expanduser()
    check_overwrite(file, (), config.overwrite)
    folders = list(dict.fromkeys(run for path in config.paths for run in _find_runs(path)))
    if len(folders) < 2:
        raise UsageError("expected two runs or more, as gan-compare outputs/NAME/DATE outputs/NAME/DATE, or a sweep")
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
    """Returns the folder of the run that `named` names. If it names a sweep, returns the last run of each job.

    Raises UsageError if there is no such run or sweep, or if the sweep has no runs.
    """
    folder = find_run_or_sweep(named)
    if read_sweep(folder) is None:
        return [folder]
    found = [run for run in last_attempts(folder) if (run / RECORD).is_file()]
    if not found:
        raise UsageError(f"{named}: none of this sweep's jobs has begun a run")
    return found


def _read_run(folder: Path) -> ComparedRun:
    record = read_record(folder)
    last: dict[str, float] = {}
    findings: list[str] = []
    for line in read_metrics(folder):
        findings += line.get("findings", ())
        last |= {name: line[name] for name in ("step", "seconds") if name in line}
    config, ended, evaluated = record.get("config"), record.get("ended"), load_newest_evaluation(folder)
    return ComparedRun(
        folder=folder,
        config=dict(flatten(config)) if isinstance(config, dict) else {},
        ended=ended if isinstance(ended, dict) else {},
        findings=list(dict.fromkeys(findings)),
        last=last,
        metrics=read_best_metrics(folder).metrics,
        evaluated={metric.name: metric for metric in evaluated.figures} if evaluated is not None else {},
        measured_on=record.get(BASIS_KEY),
        evaluated_on=evaluated.about.get("basis") if evaluated is not None else None,
    )


# --- the table ---------------------------------------------------------------------------------------------------


def _table(runs: Sequence[ComparedRun], some: Sequence[ComparedRun]) -> Table:
    """Returns a table whose columns are the runs in `some`.

    The rows are chosen from all `runs`, so that all tables of one comparison have the same rows.
    """
    table = Table(Column(overflow="fold"), *(Column(Text(one_line(run.folder, 200)), overflow="fold") for run in some))
    for key in _differing_keys(runs):
        table.add_row(Text(one_line(key, 80)), *(Text(format_value(run.config.get(key))) for run in some))
    table.add_section()
    for name, cell in _SUMMARY_ROWS.items():
        table.add_row(name, *(Text(cell(run)) for run in some))
    table.add_section()
    for name in _result_metrics(runs):
        best = None if _basis_differences(runs, name) else _best(name, [run.metrics.get(name) for run in runs])
        values = [run.metrics.get(name) for run in some]
        cells = [_value_cell(value, f"{value:.4g}", best) if value is not None else Text() for value in values]
        table.add_row(Text(one_line(name, 80)), *cells)
    table.add_section()
    for name in dict.fromkeys(name for run in runs for name in run.evaluated):
        values_of_all = [run.evaluated[name].value for run in runs if name in run.evaluated]
        best = None if _basis_differences(runs, name, evaluated=True) else _best(name, values_of_all)
        found = [run.evaluated.get(name) for run in some]
        cells = [_value_cell(each.value, _with_interval(each), best) if each is not None else Text() for each in found]
        table.add_row(Text(one_line(f"{name} (gan-eval)", 80)), *cells)
    return table


def _write_csv(runs: Sequence[ComparedRun], path: Path) -> None:
    """Writes one CSV row for each run. A row has the content of the tables, with all digits of the numbers.

    Raises StorageError if the file cannot be written.
    """
    rows = []
    for run in runs:
        row = {"run": str(run.folder), **{key: format_value(run.config.get(key)) for key in _differing_keys(runs)}}
        row |= {"status": str(run.ended.get("status", "not ended")), "findings": " ".join(run.findings)}
        row |= {name: repr(value) for name, value in run.last.items()}
        row |= {name: repr(run.metrics[name]) for name in _result_metrics(runs) if name in run.metrics}
        row |= {f"{name} (gan-eval)": repr(metric.value) for name, metric in run.evaluated.items()}
        rows.append(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), restval="")
    writer.writeheader()
    writer.writerows(rows)
    try:
        write_text(path, text.getvalue())
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror})") from error


_SUMMARY_ROWS: dict[str, Callable[[ComparedRun], str]] = {
    "status": lambda run: one_line(run.ended.get("status", "not ended"), 40),
    "steps": lambda run: f"{run.last['step']:,.0f}" if "step" in run.last else "",
    "seconds": lambda run: f"{run.last['seconds']:,.1f}" if "seconds" in run.last else "",
    "findings": lambda run: "\n".join(one_line(name, 60) for name in run.findings),
}


def _differing_keys(runs: Sequence[ComparedRun]) -> list[str]:
    """Returns the config keys whose values differ between runs, in the order of the config."""
    keys = dict.fromkeys(key for run in runs for key in run.config if key not in IGNORED_KEYS)
    return [key for key in keys if len({format_value(run.config.get(key)) for run in runs}) > 1]


def _result_metrics(runs: Sequence[ComparedRun]) -> list[str]:
    """Returns the names of the metrics to show: first metrics that can rank runs, then losses and speed."""
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    ranking = [name for name in names if better_direction(name)]
    return [*ranking, *(name for name in names if name.startswith("loss/") or name == "images_per_second")]


def _best(name: str, values: Sequence[float | None]) -> float | None:
    """Returns the best value of a metric, or None if the metric cannot rank runs or fewer than two values are known."""
    known = [value for value in values if value is not None]
    if not better_direction(name) or len(known) < 2:
        return None
    return max(known) if better_direction(name) == "higher" else min(known)


def _basis_differences(runs: Sequence[ComparedRun], name: str, *, evaluated: bool = False) -> list[str]:
    """Returns descriptions of how the measurements of this metric differ between runs, for example in their data.

    If the list is not empty, the values cannot be compared and none of them is shown as the best. With `evaluated`,
    the values of `gan-eval` are checked instead of those measured in training.
    """
    some = [run for run in runs if name in (run.evaluated if evaluated else run.metrics)]
    if not better_direction(name) or len(some) < 2:
        return []
    bases = [_evaluated_basis(run) if evaluated else metric_basis(run.measured_on, name) for run in some]
    if None in bases:
        numbers = [run.evaluated[name].n if evaluated else None for run in some]
        bases = [{**basis_from_config(run.config, name), "n": n} for run, n in zip(some, numbers, strict=True)]
    return describe_differences([basis for basis in bases if basis is not None])


def _evaluated_basis(run: ComparedRun) -> dict[str, Any] | None:
    return run.evaluated_on if isinstance(run.evaluated_on, dict) else None


def _incomparable_lines(runs: Sequence[ComparedRun]) -> list[str]:
    """Returns one line for each reason why some metrics of these runs cannot be compared."""
    lines = []
    for title, names, evaluated in (
        ("not compared", _result_metrics(runs), False),
        ("not compared (gan-eval)", list(dict.fromkeys(name for run in runs for name in run.evaluated)), True),
    ):
        reasons: dict[tuple[str, ...], list[str]] = {}
        for name in names:
            reasons.setdefault(tuple(_basis_differences(runs, name, evaluated=evaluated)), []).append(
                one_line(name, 80)
            )
        lines += [f"{title}: {explain_incomparable(some, why)}" for why, some in reasons.items() if why]
    return lines


def _value_cell(value: float, text: str, best: float | None) -> Text:
    return Text(text, style="bold" if value == best else "")


def _with_interval(metric: MetricResult) -> str:
    """Returns the value and, if it is known, the 95 % interval of a metric, for example `3.21 (3.1 to 3.4)`."""
    low_high = "" if metric.interval is None else " ({:.4g} to {:.4g})".format(*metric.interval)
    return f"{metric.value:.4g}{low_high}"
