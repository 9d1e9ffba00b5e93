"""Writes a leaderboard as `leaderboard.json`, `.csv` and `.md`, and prints it as a table. Imports no torch."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gan_cli.config.validation import format_value
from gan_cli.errors import one_line
from gan_cli.storage.run_folder import LEADERBOARD, write_text

NAME = LEADERBOARD.removesuffix(".json")  # of the files .json, .csv and .md
NO_RANKING = (
    "not ranked: no metric was computed; choose one by evaluation.metrics=[frechet] or evaluation.best=..., which need"
    " at least 20 samples"
)


def write_board(folder: Path, board: dict[str, Any]) -> None:
    """Writes `leaderboard.json`, `.csv` and `.md` to the folder. Each file replaces the old one in a single step."""
    texts = {"json": json.dumps(board, indent=2) + "\n", "csv": _csv(board), "md": _markdown(folder, board)}
    for suffix, text in texts.items():
        write_text(folder / f"{NAME}.{suffix}", text)


def _measured_count(row: dict[str, Any]) -> int:
    """Returns the number of jobs in the row that have a value of the metric."""
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


def _markdown(folder: Path, board: dict[str, Any]) -> str:
    keys = _keys(board)
    header = ["", *keys, board["metric"] or "metric", "95 % interval", "n", "seconds", "findings", "status"]
    lines = [
        f"# {_markdown_cell(folder.name)}",
        "",
        f"    {one_line(board['command'], 10_000)}",
        "",
        ranking(board),
        "",
    ]
    lines += ["| " + " | ".join(map(_markdown_cell, header)) + " |", "|" + "---|" * len(header)]
    for rank, row in enumerate(board["rows"], start=1):
        cells = [
            _rank_cell(board, rank, row),
            *(format_value(row["config"].get(key)) for key in keys),
            _number(row["mean"]),
            _interval(row),
            f"{_measured_count(row)} of {len(row['jobs'])}",
            "" if row["seconds"] is None else f"{row['seconds']:.1f}",
            ", ".join(row["findings"]),
            _status_cell(row),
        ]
        lines.append("| " + " | ".join(map(_markdown_cell, cells)) + " |")
    failures = [each for row in board["rows"] for each in row["failures"]]
    if failures:
        varied = {job["job"]: job["varied"] for job in board["jobs"]}
        lines += ["", "## Jobs that did not finish", ""]
        lines += [
            f"- {_markdown_cell(_failure_line(each))} ({_markdown_cell(varied[each['job']])})"
            for each in _by_job(failures)
        ]
    if best_of(board) is not None:
        lines += ["", "## Repeat the best run", "", f"    {best_of(board)}"]
    return "\n".join([*lines, ""])


def _by_job(failures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(failures, key=lambda each: int(each["job"]))


def _rank_cell(board: dict[str, Any], rank: int, row: dict[str, Any]) -> str:
    return str(rank) if row["mean"] is not None and not board["unranked"] else ""


def ranking(board: dict[str, Any]) -> str:
    """Returns one line that says which metric ranks the rows, or why the rows are not ranked."""
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


def _status_cell(row: dict[str, Any]) -> str:
    return ", ".join([row["status"], *_failed_statuses(row)])


def _failed_statuses(row: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(each["status"] for each in row["failures"]))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _interval(row: dict[str, Any]) -> str:
    return "" if row["interval"] is None else " to ".join(f"{end:.4g}" for end in row["interval"])


def _markdown_cell(text: object) -> str:
    return one_line(text, 500).replace("|", "\\|").replace("<", "&lt;")


# --- on the console ----------------------------------------------------------------------------------------------


def print_board(folder: Path, board: dict[str, Any]) -> None:
    """Prints the table, a line for each job that did not finish, and the command that repeats the best run."""
    table = Table(title=Text(str(folder)), title_justify="left")
    for column in ("", "varied", board["metric"] or "metric", "95 %", "seconds", "runs"):
        table.add_column(Text(column), overflow="fold")
    for rank, row in enumerate(board["rows"], start=1):
        varied = " ".join(f"{key}={format_value(value)}" for key, value in row["config"].items())
        runs, done = len(row["jobs"]), len(row["jobs"]) - len(row["failures"])
        states = [
            f"{done} of {runs} done" if row["failures"] else f"{done} done",
            *_failed_statuses(row),
            *row["findings"],
        ]
        table.add_row(
            _rank_cell(board, rank, row),
            Text(varied or "seed"),
            _number(row["mean"]),
            _interval(row),
            "" if row["seconds"] is None else f"{row['seconds']:.0f}",
            Text("\n".join(states)),
        )
    console = Console()
    console.print(table)
    for each in _by_job([each for row in board["rows"] for each in row["failures"]]):
        print(_failure_line(each))
    print(ranking(board))
    best = best_of(board)
    if best is not None:
        print(f"repeat the best run: {best}")
    print(f"leaderboard: {os.path.join(folder, NAME)}.md, .csv, .json", flush=True)
