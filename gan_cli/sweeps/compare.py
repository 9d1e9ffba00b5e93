"""`gan-compare`: runs side by side: what differs in their configs, and how each came out. Imports no torch."""

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
from gan_cli.config.metric_names import Figure, direction, newest_evaluated
from gan_cli.config.schema import shown
from gan_cli.config.train_config import flatten
from gan_cli.errors import StorageError, UsageError, counted, one_line
from gan_cli.runs.best_metrics import chosen_figures
from gan_cli.runs.comparability import MEASURED_ON, basis_by_config, basis_of, differences, not_comparable
from gan_cli.runs.log import read_metrics
from gan_cli.storage.locate import find_run_or_sweep
from gan_cli.storage.output_file import check_free
from gan_cli.storage.run_folder import RECORD, read_record, write_text
from gan_cli.sweeps.outcomes import last_tries
from gan_cli.sweeps.plan import read_sweep

MOST = 100  # runs
ABREAST = 5  # in one table
WHERE = ("name", "output", "resume", "dataset.cache", "data", "on_changed_data")  # where and how it goes on


@dataclass(frozen=True)
class Shown:
    """A run as a table shows it: its config's leaves, how far it came, the figures of what it stands for (of its best
    checkpoint, if it kept one), and those of its newest evaluation, each with what it was measured on.
    """

    folder: Path
    config: dict[str, Any]
    ended: dict[str, Any]
    findings: list[str]
    last: dict[str, float]
    figures: dict[str, float]
    evaluated: dict[str, Figure]
    measured_on: Any = None
    evaluated_on: Any = None


def compare(config: CompareConfig) -> int:
    if config.out is not None and not config.out.lower().endswith(".csv"):
        raise UsageError(f"out={config.out}: the table is written as a .csv file, give such a name")
    file = None if config.out is None else Path(config.out).expanduser()
    check_free(file, (), config.overwrite)
    folders = list(dict.fromkeys(run for path in config.paths for run in find_runs(path)))
    if len(folders) < 2:
        raise UsageError("expected two runs or more, as gan-compare outputs/NAME/DATE outputs/NAME/DATE, or a sweep")
    if len(folders) > MOST:
        raise UsageError(f"{counted(len(folders), 'run')}: at most {MOST} are compared; name some of them")
    runs = [_read(folder) for folder in folders]
    console = Console()
    for start in range(0, len(runs), ABREAST):
        console.print(_table(runs, runs[start : start + ABREAST]))
    for line in _not_compared(runs):
        console.print(Text(line), soft_wrap=True)
    if file is not None:
        _write_csv(runs, file)
        print(file)
    return 0


def find_runs(named: str) -> list[Path]:
    """The run that is named, or those of a sweep; UsageError if there is none."""
    folder = find_run_or_sweep(named)
    if read_sweep(folder) is None:
        return [folder]
    found = [run for run in last_tries(folder) if (run / RECORD).is_file()]
    if not found:
        raise UsageError(f"{named}: none of this sweep's jobs has begun a run")
    return found


def _read(folder: Path) -> Shown:
    record = read_record(folder)
    last: dict[str, float] = {}
    findings: list[str] = []
    for line in read_metrics(folder):
        findings += line.get("findings", ())
        last |= {name: line[name] for name in ("step", "seconds") if name in line}
    config, ended, evaluated = record.get("config"), record.get("ended"), newest_evaluated(folder)
    return Shown(
        folder=folder,
        config=dict(flatten(config)) if isinstance(config, dict) else {},
        ended=ended if isinstance(ended, dict) else {},
        findings=list(dict.fromkeys(findings)),
        last=last,
        figures=chosen_figures(folder).figures,
        evaluated={figure.name: figure for figure in evaluated.figures} if evaluated is not None else {},
        measured_on=record.get(MEASURED_ON),
        evaluated_on=evaluated.about.get("basis") if evaluated is not None else None,
    )


# --- the table ---------------------------------------------------------------------------------------------------


def _table(runs: Sequence[Shown], some: Sequence[Shown]) -> Table:
    """Of some runs, in the rows that all of them need, so that several tables can be read together."""
    table = Table(Column(overflow="fold"), *(Column(Text(one_line(run.folder, 200)), overflow="fold") for run in some))
    for key in _differing(runs):
        table.add_row(Text(one_line(key, 80)), *(Text(shown(run.config.get(key))) for run in some))
    table.add_section()
    for name, cell in CELLS.items():
        table.add_row(name, *(Text(cell(run)) for run in some))
    table.add_section()
    for name in _told(runs):
        best = None if _apart(runs, name) else _best(name, [run.figures.get(name) for run in runs])
        values = [run.figures.get(name) for run in some]
        cells = [_cell(value, f"{value:.4g}", best) if value is not None else Text() for value in values]
        table.add_row(Text(one_line(name, 80)), *cells)
    table.add_section()
    for name in dict.fromkeys(name for run in runs for name in run.evaluated):
        values_of_all = [run.evaluated[name].value for run in runs if name in run.evaluated]
        best = None if _apart(runs, name, evaluated=True) else _best(name, values_of_all)
        found = [run.evaluated.get(name) for run in some]
        cells = [_cell(each.value, _with_interval(each), best) if each is not None else Text() for each in found]
        table.add_row(Text(one_line(f"{name} (gan-eval)", 80)), *cells)
    return table


def _write_csv(runs: Sequence[Shown], path: Path) -> None:
    """A row for each run with what the table has, figures in full."""
    rows = []
    for run in runs:
        row = {"run": str(run.folder), **{key: shown(run.config.get(key)) for key in _differing(runs)}}
        row |= {"status": str(run.ended.get("status", "not ended")), "findings": " ".join(run.findings)}
        row |= {name: repr(value) for name, value in run.last.items()}
        row |= {name: repr(run.figures[name]) for name in _told(runs) if name in run.figures}
        row |= {f"{name} (gan-eval)": repr(figure.value) for name, figure in run.evaluated.items()}
        rows.append(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), restval="")
    writer.writeheader()
    writer.writerows(rows)
    try:
        write_text(path, text.getvalue())
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror})") from error


CELLS: dict[str, Callable[[Shown], str]] = {
    "status": lambda run: one_line(run.ended.get("status", "not ended"), 40),
    "steps": lambda run: f"{run.last['step']:,.0f}" if "step" in run.last else "",
    "seconds": lambda run: f"{run.last['seconds']:,.1f}" if "seconds" in run.last else "",
    "findings": lambda run: "\n".join(one_line(name, 60) for name in run.findings),
}


def _differing(runs: Sequence[Shown]) -> list[str]:
    """The keys, in the order of the config, whose value is not the same in all."""
    keys = dict.fromkeys(key for run in runs for key in run.config if key not in WHERE)
    return [key for key in keys if len({shown(run.config.get(key)) for run in runs}) > 1]


def _told(runs: Sequence[Shown]) -> list[str]:
    """Figures that say how a run came out: those that judge samples, then losses and speed."""
    names = dict.fromkeys(name for run in runs for name in run.figures)
    judging = [name for name in names if direction(name)]
    return [*judging, *(name for name in names if name.startswith("loss/") or name == "images_per_second")]


def _best(name: str, values: Sequence[float | None]) -> float | None:
    """The best of all runs, of a figure of which one can be called better."""
    there = [value for value in values if value is not None]
    if not direction(name) or len(there) < 2:
        return None
    return max(there) if direction(name) == "higher" else min(there)


def _apart(runs: Sequence[Shown], name: str, *, evaluated: bool = False) -> list[str]:
    """In what the runs that have this figure were measured otherwise, so that none is called the best."""
    some = [run for run in runs if name in (run.evaluated if evaluated else run.figures)]
    if not direction(name) or len(some) < 2:
        return []
    kept = [_evaluated_basis(run) if evaluated else basis_of(run.measured_on, name) for run in some]
    if None in kept:
        numbers = [run.evaluated[name].n if evaluated else None for run in some]
        kept = [{**basis_by_config(run.config, name), "n": n} for run, n in zip(some, numbers, strict=True)]
    return differences([basis for basis in kept if basis is not None])


def _evaluated_basis(run: Shown) -> dict[str, Any] | None:
    return run.evaluated_on if isinstance(run.evaluated_on, dict) else None


def _not_compared(runs: Sequence[Shown]) -> list[str]:
    """A line for each reason why figures of these runs do not say which is better."""
    lines = []
    for title, names, evaluated in (
        ("not compared", _told(runs), False),
        ("not compared (gan-eval)", list(dict.fromkeys(name for run in runs for name in run.evaluated)), True),
    ):
        reasons: dict[tuple[str, ...], list[str]] = {}
        for name in names:
            reasons.setdefault(tuple(_apart(runs, name, evaluated=evaluated)), []).append(one_line(name, 80))
        lines += [f"{title}: {not_comparable(some, why)}" for why, some in reasons.items() if why]
    return lines


def _cell(value: float, text: str, best: float | None) -> Text:
    return Text(text, style="bold" if value == best else "")


def _with_interval(figure: Figure) -> str:
    low_high = "" if figure.interval is None else " ({:.4g} to {:.4g})".format(*figure.interval)
    return f"{figure.value:.4g}{low_high}"
