"""Keeps the result of each trial, one JSON line each, and reports the union of all files as Markdown tables."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torture.parts import PARTS
from torture.worker import KINDS, Trial

Line = dict[str, Any]


def result_of(trial: Trial, seconds: float) -> Line:
    """Returns the line of a finished trial."""
    return {
        "key": trial.key,
        "cases": trial.cases,
        "faults": [list(each) for each in trial.faults],
        "note": trial.note,
        "cpu": round(trial.cpu, 2),
        "memory": round(trial.memory),
        "seconds": round(seconds, 2),
    }


def append(path: Path, line: Line) -> None:
    """Appends a result to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def load(folder: Path) -> dict[str, Line]:
    """Returns all results of a folder by key. A line that a kill cut off is ignored."""
    found = {}
    for path in sorted(folder.glob("*.jsonl")):
        for text in path.read_text().splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            found[line["key"]] = line
    return found


def report(results: Mapping[str, Line], asked: Mapping[str, int], title: str) -> str:
    """Returns both tables, what is missing, and the failures. `asked` is the number of trials of each part."""
    rows, costs = [], []
    for name in asked:
        lines = [line for key, line in results.items() if key.partition("/")[0] == name]
        counts = {kind: sum(any(each[0] == kind for each in line["faults"]) for line in lines) for kind in KINDS}
        failed = sum(bool(line["faults"]) for line in lines)
        cases = sum(line["cases"] for line in lines)
        rows.append((PARTS[name].what, asked[name], len(lines), cases, failed, *counts.values()))
        worst = [max((line[key] for line in lines), default=0) for key in ("memory", "seconds")]
        costs.append((PARTS[name].what, len(lines), round(sum(line["cpu"] for line in lines)), *worst))
    failures = [
        f"- `{key}` ({line['note']}): {line['faults'][0][0]}: {line['faults'][0][1]}"
        + (f" (and {len(line['faults']) - 1} more)" if len(line["faults"]) > 1 else "")
        for key, line in sorted(results.items())
        if line["faults"]
    ]
    return "\n".join([
        f"# {title}",
        f"\n{platform.platform()}, Python {platform.python_version()}\n",
        *_table(("what", "trials asked", "run", "cases", "failed", *KINDS), rows),
        "",
        *_table(("what", "trials", "CPU s", "most MiB", "longest s"), costs),
        *(["\n## Failures\n", *failures] if failures else []),
        "",
    ])  # fmt: skip


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> list[str]:
    lines = [head, ("---",) * len(head), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]
