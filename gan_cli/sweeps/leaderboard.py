"""A sweep's decision: a row per config, the best first, from what became of its jobs. Imports no torch."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist, fmean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gan_cli.config.metric_names import direction, find_figure
from gan_cli.config.schema import shown
from gan_cli.errors import one_line
from gan_cli.runs.comparability import MEASURED_ON, basis_by_config, basis_of, differences, not_comparable
from gan_cli.storage.run_folder import BOARD, write_text
from gan_cli.sweeps.outcomes import WORSE

NAME = BOARD.removesuffix(".json")  # .json, .csv, .md
COVERED, EVENLY = "modes/covered", "modes/reverse_kl"  # the second decides where all modes are covered
# 97.5 % quantiles of Student's t, of 1 to 9 degrees of freedom.
STUDENT = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622)
NO_RANKING = (
    "not ranked: no figure judges these samples; name one by evaluation.metrics=[frechet] or evaluation.best=..., from"
    " 20 samples on"
)


def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t; beyond the table by Abramowitz and Stegun 26.7.5, right to 0.0001."""
    if freedom <= len(STUDENT):
        return STUDENT[freedom - 1]
    z = NormalDist().inv_cdf(0.975)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, start=1))


def mean_interval(values: Sequence[float]) -> tuple[float | None, tuple[float, float] | None]:
    """The mean and its 95 % interval, which one value alone does not have."""
    if not values:
        return None, None
    mean = fmean(values)
    if len(values) == 1:
        return mean, None
    half = student(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return mean, (mean - half, mean + half)


# --- its content -------------------------------------------------------------------------------------------------


def build(command: str, ranked_by: Sequence[str], outcomes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The content of `leaderboard.json`. Ranked by the first of `ranked_by` that a job has.

    Not ranked, and `unranked` says why, if jobs were measured on different data, sizes or features; rows of the same
    then stand together.
    """
    metric = next((name for name in (_named(wanted, outcomes) for wanted in ranked_by) if name is not None), None)
    grouped: dict[str, list[dict[str, Any]]] = {}
    for outcome in outcomes:
        config = {key: value for key, value in outcome["config"].items() if key != "seed"}
        grouped.setdefault(json.dumps(config, sort_keys=True), []).append(outcome)
    bases = _bases(outcomes, metric)
    kinds = list(bases.values())
    ranked = sorted(grouped.values(), key=lambda jobs: (_place(jobs, bases), *_rank(jobs, metric)))
    return {
        "metric": metric,
        "unranked": "" if metric is None else not_comparable([metric], differences(kinds)),
        "better": direction(metric) if metric is not None else "lower",
        "command": command,
        "varied": list(dict.fromkeys(key for outcome in outcomes for key in outcome["config"])),
        "rows": [_row(jobs, metric) for jobs in ranked],
        "jobs": list(outcomes),
    }


def _named(wanted: str, outcomes: Sequence[dict[str, Any]]) -> str | None:
    found = (find_figure(outcome["figures"], wanted) for outcome in outcomes)
    return next((each[0] for each in found if each is not None), None)


def _bases(outcomes: Sequence[dict[str, Any]], metric: str | None) -> dict[int, dict[str, Any]]:
    """What each job with a figure of this kind was measured on, by its number; by their configs if one kept none."""
    if metric is None:
        return {}
    done = {job["job"]: job for job in outcomes if job["status"] == "done"}
    names = {number: find_figure(job["figures"], metric.partition("-")[0]) for number, job in done.items()}
    kept = {number: basis_of(done[number].get(MEASURED_ON), metric) for number, name in names.items() if name}
    if None not in kept.values():
        return {number: basis for number, basis in kept.items() if basis is not None}
    return {
        number: {**basis_by_config(done[number]["config"], metric), "extractor": name[0].partition("-")[2]}
        for number, name in names.items()
        if name is not None
    }


def _place(jobs: list[dict[str, Any]], bases: dict[int, dict[str, Any]]) -> int:
    """Rows that can be compared stand together, in the order of their first jobs; those without a figure at the end."""
    kinds = [json.dumps(basis, sort_keys=True) for basis in bases.values()]
    mine = [json.dumps(bases[job["job"]], sort_keys=True) for job in jobs if job["job"] in bases]
    return kinds.index(mine[0]) if mine else len(kinds)


def _row(jobs: list[dict[str, Any]], metric: str | None) -> dict[str, Any]:
    done = [job for job in jobs if job["status"] == "done"]
    judged = [job for job in done if metric in job["figures"]]
    mean, interval = mean_interval([job["figures"][metric] for job in judged])
    timed = done or [job for job in jobs if job["status"] != "not run"]
    failures = [
        {key: job[key] for key in ("job", "seed", "status", "reason")} for job in jobs if job["status"] != "done"
    ]
    sign = -1 if metric is not None and direction(metric) == "higher" else 1
    best = min(judged, key=lambda job: sign * job["figures"][metric]) if judged else (done or jobs)[0]
    return {
        "config": {key: value for key, value in jobs[0]["config"].items() if key != "seed"},
        "seeds": [job["seed"] for job in jobs],
        "values": [
            job["figures"].get(metric) if job["status"] == "done" else None for job in jobs
        ],  # one for each of `seeds`
        "mean": mean,
        "interval": list(interval) if interval is not None else None,
        "seconds": round(fmean(job["seconds"] for job in timed), 1) if timed else None,
        "findings": list(dict.fromkeys(name for job in jobs for name in job["findings"])),
        "failures": failures,
        "status": "done" if not failures else "partial" if done else "failed",
        "repeat": best["repeat"],
        "jobs": [job["job"] for job in jobs],
        "folders": [job["folder"] for job in jobs],
    }


def _judged(row: dict[str, Any]) -> int:
    return sum(value is not None for value in row["values"])


def _rank(jobs: list[dict[str, Any]], metric: str | None) -> tuple[Any, ...]:
    """Whole rows first, then those of which a run is missing, then those with one that failed by itself.

    The mean of the runs that are left flatters a row.
    """
    done = [job["figures"] for job in jobs if job["status"] == "done"]
    values = [figures[metric] for figures in done if metric in figures]
    if metric is None or not values:
        return (3, 0, 0, jobs[0]["job"])
    failed, missing = any(job["status"] in WORSE for job in jobs), any(job["status"] != "done" for job in jobs)
    sign = -1 if direction(metric) == "higher" else 1
    evenness = [figures[EVENLY] for figures in done if metric == COVERED and EVENLY in figures]
    return (2 if failed else int(missing), sign * fmean(values), fmean(evenness) if evenness else 0, jobs[0]["job"])


# --- its files ---------------------------------------------------------------------------------------------------


def write(folder: Path, board: dict[str, Any]) -> None:
    """`leaderboard.json`, `.csv` and `.md`, each complete whenever it is looked at."""
    texts = {"json": json.dumps(board, indent=2) + "\n", "csv": _csv(board), "md": _md(folder, board)}
    for suffix, text in texts.items():
        write_text(folder / f"{NAME}.{suffix}", text)


def _keys(board: dict[str, Any]) -> list[str]:
    return [key for key in board["varied"] if key != "seed"]


def _csv(board: dict[str, Any]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    metric = board["metric"] or "figure"
    more = ("low", "high", "n", "values", "seeds", "seconds", "findings", "status", "failures", "repeat", "folders")
    writer.writerow(["rank", *_keys(board), metric, *more])
    for rank, row in enumerate(board["rows"], start=1):
        low, high = row["interval"] or ("", "")
        writer.writerow([
            _ranked(board, rank, row),
            *(shown(row["config"].get(key)) for key in _keys(board)),
            "" if row["mean"] is None else row["mean"],
            low,
            high,
            _judged(row),
            " ".join("" if value is None else str(value) for value in row["values"]),
            " ".join(map(str, row["seeds"])),
            row["seconds"],
            " ".join(row["findings"]),
            row["status"],
            "; ".join(_failure(each) for each in row["failures"]),
            row["repeat"],
            " ".join(folder for folder in row["folders"] if folder is not None),
        ])  # fmt: skip
    return stream.getvalue()


def _md(folder: Path, board: dict[str, Any]) -> str:
    keys = _keys(board)
    header = ["", *keys, board["metric"] or "figure", "95 % interval", "n", "seconds", "findings", "status"]
    lines = [f"# {_escaped(folder.name)}", "", f"    {one_line(board['command'], 10_000)}", "", ranking(board), ""]
    lines += ["| " + " | ".join(map(_escaped, header)) + " |", "|" + "---|" * len(header)]
    for rank, row in enumerate(board["rows"], start=1):
        cells = [
            _ranked(board, rank, row),
            *(shown(row["config"].get(key)) for key in keys),
            _number(row["mean"]),
            _interval(row),
            f"{_judged(row)} of {len(row['jobs'])}",
            "" if row["seconds"] is None else f"{row['seconds']:.1f}",
            ", ".join(row["findings"]),
            _state(row),
        ]
        lines.append("| " + " | ".join(map(_escaped, cells)) + " |")
    failures = [each for row in board["rows"] for each in row["failures"]]
    if failures:
        varied = {job["job"]: job["varied"] for job in board["jobs"]}
        lines += ["", "## What did not end well", ""]
        lines += [f"- {_escaped(_failure(each))} ({_escaped(varied[each['job']])})" for each in _by_job(failures)]
    if best_of(board) is not None:
        lines += ["", "## The best once more", "", f"    {best_of(board)}"]
    return "\n".join([*lines, ""])


def _by_job(failures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(failures, key=lambda each: int(each["job"]))


def _ranked(board: dict[str, Any], rank: int, row: dict[str, Any]) -> str:
    return str(rank) if row["mean"] is not None and not board["unranked"] else ""


def ranking(board: dict[str, Any]) -> str:
    if board["metric"] is None:
        return NO_RANKING
    if board["unranked"]:
        return f"not ranked: {board['unranked']}; compare rows that are alike in this"
    return f"{board['metric']}, {board['better']} is better: mean and 95 % interval (Student's t) over the seeds"


def best_of(board: dict[str, Any]) -> str | None:
    """The command that repeats the best run of the best row, in letters that can be printed."""
    if board["unranked"]:
        return None
    found = next((str(row["repeat"]) for row in board["rows"] if row["mean"] is not None), None)
    return None if found is None else "".join(letter if letter.isprintable() else "?" for letter in found)


def _failure(each: dict[str, Any]) -> str:
    reason = "" if not each["reason"] else f": {each['reason']}"
    return f"job {each['job']} {each['status']}{reason}"


def _state(row: dict[str, Any]) -> str:
    return ", ".join([row["status"], *_failed(row)])


def _failed(row: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(each["status"] for each in row["failures"]))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _interval(row: dict[str, Any]) -> str:
    return "" if row["interval"] is None else " to ".join(f"{end:.4g}" for end in row["interval"])


def _escaped(text: object) -> str:
    return one_line(text, 500).replace("|", "\\|").replace("<", "&lt;")


# --- on the console ----------------------------------------------------------------------------------------------


def tell(folder: Path, board: dict[str, Any]) -> None:
    """The table, each failure with its reason, and what to do with the best."""
    table = Table(title=Text(str(folder)), title_justify="left")
    for column in ("", "what varied", board["metric"] or "figure", "95 %", "seconds", "runs"):
        table.add_column(Text(column), overflow="fold")
    for rank, row in enumerate(board["rows"], start=1):
        varied = " ".join(f"{key}={shown(value)}" for key, value in row["config"].items())
        runs, done = len(row["jobs"]), len(row["jobs"]) - len(row["failures"])
        states = [f"{done} of {runs} done" if row["failures"] else f"{done} done", *_failed(row), *row["findings"]]
        table.add_row(
            _ranked(board, rank, row),
            Text(varied or "seed"),
            _number(row["mean"]),
            _interval(row),
            "" if row["seconds"] is None else f"{row['seconds']:.0f}",
            Text("\n".join(states)),
        )
    console = Console()
    console.print(table)
    for each in _by_job([each for row in board["rows"] for each in row["failures"]]):
        print(_failure(each))
    print(ranking(board))
    best = best_of(board)
    if best is not None:
        print(f"the best once more: {best}")
    print(f"leaderboard: {os.path.join(folder, NAME)}.md, .csv, .json", flush=True)
