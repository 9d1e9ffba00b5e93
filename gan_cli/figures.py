"""What an evaluation found, as `gan-eval` leaves it and others read it. Imports no torch."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EVALUATIONS = "evaluations"  # in a run's folder


@dataclass(frozen=True)
class Figure:
    """One figure of `n` samples.

    `name` has the extractor where there is one, as `frechet-classifier`. `better` is "lower" or "higher", "" where
    neither is. `interval` is the bootstrap's 95 %. `floor` is what real samples score, `n` of them against others.
    """

    name: str
    value: float
    n: int
    better: str = ""
    interval: tuple[float, float] | None = None
    floor: float | None = None
    seconds: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class Evaluated:
    """All figures of one set of samples; `about` says which: checkpoint, sha256, step, extractor and its accuracy."""

    figures: tuple[Figure, ...]
    about: dict[str, Any]


def save_evaluated(evaluated: Evaluated, path: Path) -> None:
    """A JSON file, under its name when all of it is there."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(dataclasses.asdict(evaluated), indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def newest_evaluated(run: Path) -> Evaluated | None:
    """The last one in a run's folder, if there is any that can be read."""
    for path in sorted((run / EVALUATIONS).glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            figures = tuple(Figure(**{**each, "interval": _pair(each["interval"])}) for each in data["figures"])
            return Evaluated(figures, dict(data["about"]))
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return None


def _pair(values: Any) -> tuple[float, float] | None:
    return None if values is None else (float(values[0]), float(values[1]))
