"""What an evaluation found, as `gan-eval` leaves it and others read it. Imports no torch."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_cli.storage.links import without_link

EVALUATIONS = "evaluations"  # in a run's folder
# Which way is better, of every figure that a choice may go by; an extractor's name may follow: frechet-classifier.
BETTER = {
    "frechet": "lower", "kernel": "lower", "precision": "higher", "recall": "higher", "density": "higher",
    "coverage": "higher", "inception_score": "higher", "modes/covered": "higher", "modes/share": "higher",
    "modes/reverse_kl": "lower", "accuracy/class": "higher",
}  # fmt: skip
FIGURES_OF = {
    "frechet": ("frechet",), "kernel": ("kernel",), "precision_recall": ("precision", "recall"),
    "density_coverage": ("density", "coverage"), "inception_score": ("inception_score",),
}  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """One figure of `n` samples.

    `name` has the extractor where there is one, as `frechet-classifier`. `better` is "lower" or "higher", "" where
    neither is. `interval` is that of 95 % of other samples of the same generator. `floor` is what real samples score,
    `n` of them against others. `reals` is how many real samples it was compared with, 0 of a figure that needs none.
    """

    name: str
    value: float
    n: int
    better: str = ""
    interval: tuple[float, float] | None = None
    floor: float | None = None
    seconds: float = 0.0
    note: str = ""
    reals: int = 0


def selection_metric(metrics: Sequence[str], best: str | None) -> str | None:
    """Returns the metric by which a run's best checkpoint is chosen; None if there is none.

    It is `best` of `evaluation.best` if that is set, else the first one that the first of `evaluation.metrics` gives.
    """
    return best or (FIGURES_OF[metrics[0]][0] if metrics else None)


def direction(name: str) -> str:
    """ "lower" or "higher" is better, "" for what is no such figure."""
    return BETTER.get(name) or BETTER.get(name.partition("-")[0], "")


def maker_of(name: str | None) -> str | None:
    """The metric of `evaluation.metrics` that works a figure out; None of others, as modes/covered."""
    base = str(name).partition("-")[0]
    return next((metric for metric, names in FIGURES_OF.items() if base in names), None)


def is_better(name: str, value: float, than: float) -> bool:
    return value < than if direction(name) == "lower" else value > than


def find_figure(values: Mapping[str, Any], wanted: str) -> tuple[str, float] | None:
    """Name and value of the figure called `wanted`, with or without its extractor; None if it is not there."""
    for name, value in values.items():
        if wanted in (name, name.partition("-")[0]) and direction(name) and isinstance(value, int | float):
            return name, float(value)
    return None


@dataclass(frozen=True)
class Evaluated:
    """All figures of one set of samples; `about` says which: checkpoint, sha256, step, extractor and its accuracy."""

    figures: tuple[Figure, ...]
    about: dict[str, Any]


def save_evaluated(evaluated: Evaluated, path: Path) -> None:
    """A JSON file, under its name when all of it is there."""
    temporary = path.with_name(f".{path.name}.tmp")
    without_link(temporary).write_text(json.dumps(dataclasses.asdict(evaluated), indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def newest_evaluated(run: Path) -> Evaluated | None:
    """The last one in a run's folder, if there is any that can be read."""
    for path in sorted((run / EVALUATIONS).glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return Evaluated(tuple(map(_figure, data["figures"])), dict(data["about"]))
        except (OSError, ValueError, TypeError, LookupError, OverflowError, RecursionError):
            continue
    return None


def _figure(data: Mapping[str, Any]) -> Figure:
    """One figure of a file; ValueError for what is none."""
    interval, floor = data["interval"], data["floor"]
    return Figure(
        name=str(data["name"]),
        value=_finite(data["value"]),
        n=int(data["n"]),
        better=str(data["better"]),
        interval=None if interval is None else (_finite(interval[0]), _finite(interval[1])),
        floor=None if floor is None else _finite(floor),
        seconds=_finite(data["seconds"]),
        note=str(data["note"]),
        reals=int(data.get("reals", 0)),
    )


def _finite(value: Any) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value} is no figure")
    return float(value)
