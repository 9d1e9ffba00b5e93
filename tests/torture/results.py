"""Keeps the result of each trial, one JSON line each, and reports the union of all files as Markdown tables."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torture.fuzz import WITHOUT
from torture.parts import PARTS
from torture.worker import KINDS, NOT_RUN, Trial

Line = dict[str, Any]


class MixedResultsError(Exception):
    """Results of several commits are in one folder."""


def result_of(trial: Trial, seconds: float, commit: str) -> Line:
    """Returns the line of a finished trial."""
    return {
        "key": trial.key,
        "commit": commit,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "cases": trial.cases,
        "faults": [list(each) for each in trial.faults],
        "note": trial.note,
        "cpu": round(trial.cpu, 2),
        "memory": round(trial.memory),
        "seconds": round(seconds, 2),
    }


@cache
def machine() -> str:
    """Returns the processors, the system and the versions of Python and torch."""
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line for line in lines if line.startswith("model name")).partition(": ")[2]
    versions = f"Python {platform.python_version()}, torch {version('torch')}"
    return f"{os.cpu_count()} cores of {processor}, {platform.system()} {platform.release()}, {versions}"


def append(path: Path, line: Line) -> None:
    """Appends a result to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def load(folder: Path) -> dict[str, Line]:
    """Returns all results of a folder by key; of a key, the last. A line that a kill cut off is ignored.

    Raises MixedResultsError if they are of several commits.
    """
    found: dict[str, Line] = {}
    for path in sorted(folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns):
        for text in path.read_text().splitlines():
            with contextlib.suppress(ValueError):
                line = json.loads(text)
                found[line["key"]] = line
    commits = sorted({line["commit"] for line in found.values()})
    if len(commits) > 1:
        raise MixedResultsError(f"{folder}: holds results of several commits ({', '.join(commits)})")
    return found


def first_table(results: Mapping[str, Line], asked: Mapping[str, int]) -> list[str]:
    """Returns the lines of the table of faults, in trials that found one. `asked` is the number of trials by part."""
    rows = []
    for name, count in asked.items():
        part, lines = PARTS[name], _of_part(results, name)
        counts = [sum(any(each[0] == kind for each in line["faults"]) for line in lines) for kind in KINDS]
        rows.append((part.what, part.asked(count), f"{sum(line['cases'] for line in lines):,}", *counts))
    return _table(("what", "asked", "run", *KINDS.values()), rows)


def second_table(results: Mapping[str, Line], asked: Mapping[str, int]) -> list[str]:
    """Returns the lines of the table of costs."""
    rows = []
    for name in asked:
        lines = _of_part(results, name)
        worst = [max((line[key] for line in lines), default=0) for key in ("memory", "seconds")]
        cpu = round(sum(line["cpu"] for line in lines))
        rows.append((PARTS[name].what, len(lines), f"{cpu:,}", f"{worst[0]:,} MiB", f"{worst[1]:.0f} s"))
    return _table(("what", "trials", "CPU s", "worst RSS", "worst wall"), rows)


def report(results: Mapping[str, Line], asked: Mapping[str, int], title: str) -> str:
    """Returns both tables, with their date, machine and commit, and what failed or could not be run."""
    dates, machines, commits = ({line[key] for line in results.values()} for key in ("date", "machine", "commit"))
    about = [" to ".join(sorted({min(dates), max(dates)})) if dates else "", *sorted(machines), *sorted(commits)]
    return "\n".join([
        f"# {title}",
        f"\n*{'; '.join(about)}*\n",
        *first_table(results, asked),
        "",
        *second_table(results, asked),
        *problems(results),
        "",
    ])  # fmt: skip


def problems(results: Mapping[str, Line]) -> list[str]:
    """Returns lines about the failed trials, each with the command that repeats it, and about those not run."""
    lines = []
    for key, line in sorted(results.items()):
        if line["faults"]:
            (kind, text), *more = line["faults"]
            lines.append(f"- `{key}` ({line['note']}): {kind}: {text}{f' (and {len(more)} more)' if more else ''}")
    skipped = Counter(
        f"- {key.partition('/')[0]}: {line['note']}"
        for key, line in results.items()
        if line["note"].startswith(NOT_RUN)
    )
    lines += [f"{text} ({count} trials)" for text, count in skipped.items()]
    unguided = sum(line["note"].endswith(WITHOUT) for line in results.values())
    lines += [f"- fuzz: mutants made {WITHOUT}, which is not installed ({unguided} trials)"] if unguided else []
    return ["", "Failures, and what was not run:", "", *lines] if lines else []


def _of_part(results: Mapping[str, Line], name: str) -> list[Line]:
    return [line for key, line in results.items() if key.partition("/")[0] == name]


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> list[str]:
    lines = [head, ("---",) * len(head), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]
