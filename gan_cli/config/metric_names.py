"""The results of an evaluation: which way each metric is better, and the JSON file that `gan-eval` saves. No torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from gan_cli.storage.json_files import Number, Whole, first, line, read_as
from gan_cli.storage.run_folder import write_json

EVALUATIONS = "evaluations"  # in a run's folder
MOST_METRICS = 60  # that are read from a file
# Whether lower or higher is better, for every metric that a best checkpoint or a ranking may be selected by. The name
# of a metric may end in its extractor: frechet-classifier.
BETTER_DIRECTION = {
    "frechet": "lower", "kernel": "lower", "precision": "higher", "recall": "higher", "density": "higher",
    "coverage": "higher", "inception_score": "higher", "modes/covered": "higher", "modes/share": "higher",
    "modes/reverse_kl": "lower", "accuracy/class": "higher",
}  # fmt: skip
SHARES = ("precision", "recall", "coverage", "modes/share", "accuracy/class")
# For each option of `evaluation.metrics`, the names under which its values are reported.
REPORTED_METRICS = {
    "frechet": ("frechet",), "kernel": ("kernel",), "precision_recall": ("precision", "recall"),
    "density_coverage": ("density", "coverage"), "inception_score": ("inception_score",),
}  # fmt: skip


@dataclass(frozen=True)
class MetricResult:
    """The value of one metric on `n` samples.

    `name` ends in the feature extractor if the metric uses one: `frechet-classifier`. `better` is "lower" or "higher",
    or "" if neither direction is better. `interval` is the 95 % interval over other samples of the same generator.
    `floor` is the value that `n` real samples reach when they are compared with other real samples. `reals` is the
    number of real samples in the comparison; 0 for a metric that needs no real samples. `seconds` is the time that the
    computation took.
    """

    name: Annotated[str, line(80)]
    value: Number
    n: Whole
    better: Annotated[str, line(80)] = ""
    interval: tuple[Number, Number] | None = None
    floor: Number | None = None
    seconds: Number = 0.0
    note: Annotated[str, line(300)] = ""
    reals: Whole = 0


def selection_metric(metrics: Sequence[str], best: str | None) -> str | None:
    """Returns the name of the metric that selects the best checkpoint, or None: `best`, else that of `metrics[0]`."""
    return best or (REPORTED_METRICS[metrics[0]][0] if metrics and metrics[0] in REPORTED_METRICS else None)


def better_direction(name: str) -> str:
    """Returns "lower" or "higher", whichever is better for a metric; "" for a name not in `BETTER_DIRECTION`."""
    return BETTER_DIRECTION.get(name) or BETTER_DIRECTION.get(name.partition("-")[0], "")


def metric_limits(name: str) -> tuple[float, float]:
    """Returns the least and the most that a metric can be. An estimate of a kernel distance may be negative."""
    base = name.partition("-")[0]
    least = -math.inf if base == "kernel" or not better_direction(name) else 1 if base == "inception_score" else 0
    return least, 1 if base in SHARES else math.inf


def metric_option(name: str | None) -> str | None:
    """Returns the option of `evaluation.metrics` that computes a metric; None if no option does (modes/covered)."""
    base = str(name).partition("-")[0]
    return next((metric for metric, names in REPORTED_METRICS.items() if base in names), None)


def is_better(name: str, value: float, than: float) -> bool:
    """Returns whether `value` is strictly better than `than`, both being values of the metric `name`."""
    return value < than if better_direction(name) == "lower" else value > than


def find_metric(values: Mapping[str, Any], wanted: str) -> tuple[str, float] | None:
    """Returns (name, value) of the metric `wanted`, as `frechet-classifier` or just `frechet`; None without it."""
    for name, value in values.items():
        if wanted in (name, name.partition("-")[0]) and better_direction(name) and isinstance(value, int | float):
            return name, float(value)
    return None


@dataclass(frozen=True)
class EvaluationResult:
    """All metrics of one set of samples."""

    figures: Annotated[tuple[MetricResult, ...], first(MOST_METRICS)]
    about: dict[str, Any]  # the checkpoint with its sha256 and step, the extractor and its accuracy


def save_evaluation(evaluated: EvaluationResult, path: Path) -> None:
    """Writes the results as JSON to `path`, atomically."""
    write_json(path, dataclasses.asdict(evaluated))


def load_newest_evaluation(run: Path) -> EvaluationResult | None:
    """Returns the newest evaluation file in a run's folder that can be read; None if there is no such file."""
    paths = sorted((run / EVALUATIONS).glob("*.json"), key=lambda path: path.lstat().st_mtime, reverse=True)
    return next(filter(None, (read_as(EvaluationResult, path) for path in paths)), None)
