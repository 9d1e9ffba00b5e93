"""The results of an evaluation: which way each metric is better, and the JSON file that `gan-eval` saves. No torch."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_cli.storage.symlinks import remove_symlink

EVALUATIONS = "evaluations"  # in a run's folder
# Whether lower or higher is better, for every metric that a best checkpoint or a ranking may be selected by. The name
# of a metric may end in its extractor: frechet-classifier.
BETTER_DIRECTION = {
    "frechet": "lower", "kernel": "lower", "precision": "higher", "recall": "higher", "density": "higher",
    "coverage": "higher", "inception_score": "higher", "modes/covered": "higher", "modes/share": "higher",
    "modes/reverse_kl": "lower", "accuracy/class": "higher",
}  # fmt: skip
# By option of `evaluation.metrics`: the names under which its values are reported.
REPORTED_METRICS = {
    "frechet": ("frechet",), "kernel": ("kernel",), "precision_recall": ("precision", "recall"),
    "density_coverage": ("density", "coverage"), "inception_score": ("inception_score",),
}  # fmt: skip


@dataclass(frozen=True)
class MetricResult:
    """The value of one metric on `n` samples.

    `name` ends in the extractor if the metric uses one: `frechet-classifier`. `better` is "lower", "higher", or "" if
    neither is better. `interval` is the 95 % interval over other samples of the same generator. `floor` is the value
    for `n` real samples compared with other real ones. `reals` is the number of real samples that were compared with,
    0 for a metric that needs none. `seconds` is the time that the computation took.
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
    return best or (REPORTED_METRICS[metrics[0]][0] if metrics and metrics[0] in REPORTED_METRICS else None)


def better_direction(name: str) -> str:
    """Which is better for a metric, "lower" or "higher"; "" for a name that is not in `BETTER_DIRECTION`."""
    return BETTER_DIRECTION.get(name) or BETTER_DIRECTION.get(name.partition("-")[0], "")


def metric_option(name: str | None) -> str | None:
    """The option of `evaluation.metrics` that computes a metric; None for others, such as modes/covered."""
    base = str(name).partition("-")[0]
    return next((metric for metric, names in REPORTED_METRICS.items() if base in names), None)


def is_better(name: str, value: float, than: float) -> bool:
    """Whether `value` of the metric `name` is strictly better than the value `than`."""
    return value < than if better_direction(name) == "lower" else value > than


def find_metric(values: Mapping[str, Any], wanted: str) -> tuple[str, float] | None:
    """Name and value of the metric `wanted`, given with or without its extractor; None if `values` lack it."""
    for name, value in values.items():
        if wanted in (name, name.partition("-")[0]) and better_direction(name) and isinstance(value, int | float):
            return name, float(value)
    return None


@dataclass(frozen=True)
class EvaluationResult:
    """All metrics of one set of samples.

    `about` describes the samples: checkpoint, its sha256, step, extractor and the extractor's accuracy.
    """

    figures: tuple[MetricResult, ...]
    about: dict[str, Any]


def save_evaluation(evaluated: EvaluationResult, path: Path) -> None:
    """Writes the results as JSON to `path`, atomically."""
    temporary = path.with_name(f".{path.name}.tmp")
    remove_symlink(temporary).write_text(json.dumps(dataclasses.asdict(evaluated), indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def load_newest_evaluation(run: Path) -> EvaluationResult | None:
    """The newest readable results in a run's folder, None if there are none."""
    for path in sorted((run / EVALUATIONS).glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return EvaluationResult(tuple(map(_metric_result, data["figures"])), dict(data["about"]))
        except (OSError, ValueError, TypeError, LookupError, OverflowError, RecursionError):
            continue
    return None


def _metric_result(data: Mapping[str, Any]) -> MetricResult:
    """One metric from a file. Raises ValueError, TypeError or LookupError if the data are not one."""
    interval, floor = data["interval"], data["floor"]
    return MetricResult(
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
        raise ValueError(f"{value} is not finite")
    return float(value)
