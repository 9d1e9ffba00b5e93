"""The tables of first_command.py, from its rows alone: every result, and the goals beside what was reached."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from statistics import mean
from typing import Any

from report import table

Row = dict[str, Any]
TYPED, NUMBERS = "as typed", "three numbers"
OF_NUMBERS = 0.7  # at most: Frechet distance over that of the three numbers, at equal time
OF_FLOOR, OF_FLOOR_AT = 1.5, "15m"  # at most: Frechet distance over the floor, after so long
OF_COVERAGE = 0.85  # at least: precision and recall, over those of real pictures and of the three numbers
CHECKERBOARD = 1.5  # at most
COLLAPSED = {"mode_collapse", "blank_output"}  # findings; the second hides the first
MOST_SHOWN = 99.0  # of a ratio


def tables(rows: Sequence[Row]) -> str:
    """Markdown; one line if there is nothing yet."""
    if not rows:
        return "nothing is done yet"
    parts = [results(rows), f"Goals of `{TYPED}`, each met or missed:", goals(rows), _of_commits(rows)]
    return "\n\n".join(parts)


def _of_commits(rows: Sequence[Row]) -> str:
    """Which versions were measured; the load of the minute before a run, where another program was busy."""
    kinds = [("before " if row["variant"].startswith("before") else "") + str(row.get("commit"))[:7] for row in rows]
    changed = sum(bool(row.get("changed")) for row in rows)
    text = "Runs by commit: " + ", ".join(f"{kind}: {count}" for kind, count in Counter(kinds).items())
    return text + (f"; {changed} with uncommitted changes" if changed else "")


# --- results -----------------------------------------------------------------------------------------------------


def results(rows: Sequence[Row]) -> str:
    """A line for each length, set and variant, the mean of its seeds."""
    headers = [
        "time", "pictures", "variant", "Fréchet", "by seed", "floor", "precision", "recall", "random / floor",
        "memorized", "repeated", "checkerboard", "steps", "seconds", "threads", "findings",
    ]  # fmt: skip
    return table(headers, [_line(*key, group) for key, group in _grouped(rows).items()])


def _grouped(rows: Sequence[Row]) -> dict[tuple[str, str, str], list[Row]]:
    """In the order of the first seed."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["seed"]):
        groups.setdefault((row["length"], row["pictures"], row["variant"]), []).append(row)
    return groups


def _line(length: str, pictures: str, variant: str, runs: list[Row]) -> list[object]:
    scored = [row for row in runs if "checkerboard" in row]
    by_seed = ", ".join(f"{_main(row)['frechet']:.2f}" if row in scored else str(row["status"]) for row in runs)
    found = Counter(name for row in runs for name in row["findings"])
    findings = ", ".join(f"{name} {count} of {len(runs)}" for name, count in found.items()) or "none"
    times = [f"{mean(row[key] or 0 for row in runs):.0f}" for key in ("steps", "seconds")]
    times.append(", ".join(dict.fromkeys(str(row.get("threads") or "?") for row in runs)))  # as they were settled
    if not scored:
        return [length, pictures, variant, None, by_seed, *[None] * 7, *times, findings]
    averages = [_mean(scored, _score(name)) for name in ("frechet", "precision", "recall")]
    shown = [f"{value:.2f}" for value in averages]
    flag = " flagged" if any(row["memorization_flag"] for row in scored) else ""
    shares = [f"{_mean(scored, lambda row, key=key: row[key]):.3f}" for key in ("memorized", "repeated")]
    return [
        length, pictures, variant, shown[0], by_seed, f"{_mean(scored, _floor('frechet')):.2f}", *shown[1:],
        f"{_mean(scored, lambda row: row['random']['frechet'] / row['random']['floor']['frechet']):.1f}",
        shares[0] + flag, shares[1], f"{_mean(scored, lambda row: row['checkerboard']):.2f}", *times, findings,
    ]  # fmt: skip


def _mean(rows: Sequence[Row], value: Callable[[Row], float]) -> float:
    return mean(value(row) for row in rows)


def _main(row: Row) -> Row:
    """The scores by a classifier's features, or by random ones where there is no classifier."""
    return row.get("classifier") or row["random"]


def _score(name: str) -> Callable[[Row], float]:
    return lambda row: _main(row)[name]


def _floor(name: str) -> Callable[[Row], float]:
    return lambda row: _main(row)["floor"][name]


# --- goals -------------------------------------------------------------------------------------------------------


def goals(rows: Sequence[Row]) -> str:
    """A line for each length and set; a cell is empty where there is no goal, or nothing to compare with."""
    headers = [
        "time", "pictures", f"Fréchet / three numbers' (≤ {OF_NUMBERS})",
        f"Fréchet / floor (≤ {OF_FLOOR} after {OF_FLOOR_AT})", f"precision / real pictures' (≥ {OF_COVERAGE})",
        f"recall / real pictures' (≥ {OF_COVERAGE})", f"precision / three numbers' (≥ {OF_COVERAGE})",
        f"recall / three numbers' (≥ {OF_COVERAGE})", f"checkerboard (≤ {CHECKERBOARD})", "collapse found (none)",
        "memorization flag (none)",
    ]  # fmt: skip
    groups = _grouped(rows)
    lines = []
    for (length, pictures, variant), runs in groups.items():
        if variant == TYPED:
            lines.append([length, pictures, *_reached(length, runs, groups.get((length, pictures, NUMBERS), []))])
    return table(headers, lines)


def _reached(length: str, typed: list[Row], numbers: list[Row]) -> list[str]:
    collapsed = sum(not COLLAPSED.isdisjoint(row["findings"]) for row in typed)
    scored, theirs = ([row for row in runs if "checkerboard" in row] for runs in (typed, numbers))
    collapse = _verdict(f"{collapsed} of {len(typed)}", not collapsed)
    if len(scored) < len(typed):  # one diverged
        return [*[_verdict("diverged", False)] * 7, collapse, ""]
    repeated = bool(theirs)  # of the other sets there are no goals but those for all
    distance, coverage = _score("frechet"), ("precision", "recall")
    flags = sum(row["memorization_flag"] for row in scored)
    most = max(row["checkerboard"] for row in scored)
    return [
        _most(_mean(scored, distance) / _mean(theirs, distance), OF_NUMBERS) if repeated else "",
        _most(
            _mean(scored, distance) / _mean(scored, _floor("frechet")),
            OF_FLOOR if repeated and length == OF_FLOOR_AT else None,
        ),
        *[_least(scored, _score(name), scored, _floor(name), repeated) for name in coverage],
        *[_least(scored, _score(name), theirs, _score(name), repeated) if repeated else "" for name in coverage],
        _most(most, CHECKERBOARD),
        collapse,
        _verdict(f"{flags} of {len(scored)}", not flags),
    ]


def _most(value: float, goal: float | None) -> str:
    return f"{value:.2f}" if goal is None else _verdict(f"{value:.2f}", value <= goal)


def _least(
    rows: Sequence[Row],
    score: Callable[[Row], float],
    others: Sequence[Row],
    beside: Callable[[Row], float],
    is_goal: bool,
) -> str:
    value = min(_mean(rows, score) / max(_mean(others, beside), 1e-6), MOST_SHOWN)  # theirs may be 0
    return _verdict(f"{value:.2f}", value >= OF_COVERAGE) if is_goal else f"{value:.2f}"


def _verdict(text: str, met: bool) -> str:
    return f"{text} {'met' if met else 'missed'}"
