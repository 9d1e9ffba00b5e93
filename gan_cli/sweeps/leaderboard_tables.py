"""Writes the leaderboard of a sweep, again after each job, and prints it as a table. Imports no torch."""

from __future__ import annotations

import csv
import io
import json
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from gan_cli.config.validation import format_value
from gan_cli.errors import GanCliError, describe_reason, format_number, one_line
from gan_cli.reports.write_report import write_sweep_report
from gan_cli.storage.run_folder import LEADERBOARD, write_text
from gan_cli.sweeps.leaderboard import build_board
from gan_cli.sweeps.outcomes import Sweep, load_outcome, trial_outcomes

NAME = LEADERBOARD.removesuffix(".json")  # of the files .json, .csv and .md
_writing = threading.Lock()
NO_RANKING = (
    "not ranked: no metric was computed; choose one by evaluation.metrics=[frechet] or evaluation.best=..., which need"
    " at least 20 samples"
)


def write_leaderboard(this: Sweep) -> dict[str, Any]:
    """Writes the leaderboard and the report of the outcomes so far. Returns the board; warns if a file fails."""
    folder = this.folder
    with _writing:
        outcomes = [load_outcome(job, this) for job in this.jobs] or trial_outcomes(folder)
        board = build_board(this.command, this.ranked_by, outcomes)
        try:
            write_board(folder, board)
            write_sweep_report(folder)
        except OSError as error:
            print(
                f"warning: {error.filename or folder}: cannot be written ({describe_reason(error, folder)})", flush=True
            )
        except GanCliError as error:
            print(f"warning: no report: {error}", flush=True)
    return board


def write_board(folder: Path, board: dict[str, Any]) -> None:
    """Writes `leaderboard.json`, `.csv` and `.md` to the folder. Readers never see a part of a file."""
    texts = {"json": json.dumps(board, indent=2) + "\n", "csv": _csv(board), "md": _markdown(folder, board)}
    for suffix, text in texts.items():
        write_text(folder / f"{NAME}.{suffix}", text)


def _measured_count(row: dict[str, Any]) -> int:
    """The number of jobs in the row that have a value of the metric."""
    return sum(value is not None for value in row["values"])


def _keys(board: dict[str, Any]) -> list[str]:
    return [key for key in board["varied"] if key != "seed"]


def _csv(board: dict[str, Any]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    metric = board["metric"] or "figure"  # the column's name
    more = ("low", "high", "n", "values", "seeds", "seconds", "findings", "status", "failures", "repeat", "folders")
    writer.writerow(["rank", *_keys(board), metric, *more])
    for rank, row in enumerate(board["rows"], start=1):
        low, high = row["interval"] or ("", "")
        writer.writerow([
            _rank_cell(board, rank, row),
            *(format_value(row["config"].get(key)) for key in _keys(board)),
            "" if row["mean"] is None else row["mean"],
            low,
            high,
            _measured_count(row),
            " ".join("" if value is None else str(value) for value in row["values"]),
            " ".join(map(str, row["seeds"])),
            row["seconds"],
            " ".join(row["findings"]),
            row["status"],
            "; ".join(_failure_line(each) for each in row["failures"]),
            row["repeat"],
            " ".join(folder for folder in row["folders"] if folder is not None),
        ])  # fmt: skip
    return stream.getvalue()


def _cells(board: dict[str, Any], rank: int, row: dict[str, Any]) -> dict[str, str]:
    """Returns the texts of a row by column, for the table on the console and the one in Markdown."""
    statuses = [each["status"] for each in row["failures"]]
    done = len(row["jobs"]) - len(statuses)
    runs = [f"{done} of {len(row['jobs'])} done" if statuses else f"{done} done", *statuses, *row["findings"]]
    return {
        "": _rank_cell(board, rank, row),
        **{key: format_value(row["config"].get(key)) for key in _keys(board)},
        "varied": " ".join(f"{key}={format_value(value)}" for key, value in row["config"].items()) or "seed",
        board["metric"] or "metric": "" if row["mean"] is None else format_number(row["mean"]),
        "95 % interval": "" if row["interval"] is None else " to ".join(map(format_number, row["interval"])),
        "n": f"{_measured_count(row)} of {len(row['jobs'])}",
        "seconds": "" if row["seconds"] is None else f"{row['seconds']:.1f}",
        "findings": ", ".join(row["findings"]),
        "status": ", ".join(dict.fromkeys([row["status"], *statuses])),
        "runs": "\n".join(dict.fromkeys(runs)),
    }


def _table(board: dict[str, Any], columns: Sequence[str], shown: Callable[[str], str] = str, **style: Any) -> Table:
    """Returns a table of these columns. `shown` converts the text of each cell."""
    table = Table(*(Column(Text(shown(column)), overflow="fold") for column in columns), **style)
    for rank, row in enumerate(board["rows"], start=1):
        cells = _cells(board, rank, row)
        table.add_row(*(Text(shown(cells[column])) for column in columns))
    return table


def _markdown(folder: Path, board: dict[str, Any]) -> str:
    stream, metric = io.StringIO(), board["metric"] or "metric"
    columns = ("", *_keys(board), metric, "95 % interval", "n", "seconds", "findings", "status")
    Console(file=stream, width=100_000).print(_table(board, columns, _markdown_cell, box=MARKDOWN))
    rows = [line.rstrip() for line in stream.getvalue().strip().splitlines()]
    command = f"    {one_line(board['command'], 10_000)}"
    lines = [f"# {_markdown_cell(folder.name)}", "", command, "", ranking(board), "", *rows]
    varied = {job["job"]: f" ({job['varied']})" for job in board["jobs"]}
    failures = [f"- {_markdown_cell(_failure_line(each) + varied[each['job']])}" for each in _failures(board)]
    lines += ["", "## Jobs that did not finish", "", *failures] if failures else []
    if best_of(board) is not None:
        lines += ["", "## Repeat the best run", "", f"    {best_of(board)}"]
    return "\n".join([*lines, ""])


def _failures(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the failures of all rows, sorted by job."""
    return sorted((each for row in board["rows"] for each in row["failures"]), key=lambda each: int(each["job"]))


def _rank_cell(board: dict[str, Any], rank: int, row: dict[str, Any]) -> str:
    return str(rank) if row["mean"] is not None and not board["unranked"] else ""


def ranking(board: dict[str, Any]) -> str:
    """Returns one line that says which metric ranks the rows, or why they are not ranked."""
    if board["metric"] is None:
        return NO_RANKING
    if board["unranked"]:
        return f"not ranked: {board['unranked']}; compare only rows that agree in this"
    return f"{board['metric']}, {board['better']} is better: mean and 95 % interval (Student's t) over the seeds"


def best_of(board: dict[str, Any]) -> str | None:
    """Returns the command that repeats the best run of the first row that has a mean.

    Unprintable characters in the command become `?`. Returns None if the rows are not ranked or none has a mean.
    """
    if board["unranked"]:
        return None
    found = next((str(row["repeat"]) for row in board["rows"] if row["mean"] is not None), None)
    return None if found is None else "".join(letter if letter.isprintable() else "?" for letter in found)


def _failure_line(each: dict[str, Any]) -> str:
    reason = "" if not each["reason"] else f": {each['reason']}"
    return f"job {each['job']} {each['status']}{reason}"


def _markdown_cell(text: str) -> str:
    return one_line(text, 500).replace("|", "\\|").replace("<", "&lt;")


def print_board(folder: Path, board: dict[str, Any]) -> None:
    """Prints the table, a line for each job that did not finish, and the command that repeats the best run."""
    columns = ("", "varied", board["metric"] or "metric", "95 % interval", "seconds", "runs")
    Console().print(_table(board, columns, title=Text(str(folder)), title_justify="left"))
    for each in _failures(board):
        print(_failure_line(each))
    print(ranking(board))
    if (best := best_of(board)) is not None:
        print(f"repeat the best run: {best}")
    print(f"leaderboard: {os.path.join(folder, NAME)}.md, .csv, .json", flush=True)
