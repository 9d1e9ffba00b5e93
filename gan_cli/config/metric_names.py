"""The names of metrics, and which way each metric is better. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

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
# Words of other tools for a metric, and what to write in gan-cli; `{}` is the section of the key, as `evaluation.`.
METRICS_OF_OTHER_TOOLS = {
    "fid": "{0}metrics=[frechet] {0}extractor=inception", "kid": "{0}metrics=[kernel] {0}extractor=inception",
    "frechet_inception_distance": "{0}metrics=[frechet] {0}extractor=inception", "mmd": "{0}metrics=[kernel]",
    "is": "{0}metrics=[inception_score]", "precision": "{0}metrics=[precision_recall]",
    "recall": "{0}metrics=[precision_recall]", "prdc": "{0}metrics=[density_coverage]",
    "density": "{0}metrics=[density_coverage]", "coverage": "{0}metrics=[density_coverage]",
}  # fmt: skip


def metrics_of_other_tools(section: str = "") -> dict[str, str]:
    """Returns a dict from the word of another tool for a metric to a text that says what to write here."""
    return {word: f"here it is {way.format(section)}" for word, way in METRICS_OF_OTHER_TOOLS.items()}


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
