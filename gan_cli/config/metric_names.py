"""The names of metrics, and which way each metric is better. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gan_cli.config.options.loop import PAIRED_METRICS, REQUIREMENTS
from gan_cli.config.options.tasks import NEEDS_TRUE_IMAGE, WITH_IMAGE
from gan_cli.errors import UsageError

NEAR_ONE = "near 1"  # neither lower nor higher is better, but what is nearer to 1
# Whether lower or higher is better, for every metric that a best checkpoint or a ranking may be selected by. The name
# of a metric may end in its extractor: frechet-classifier.
BETTER_DIRECTION = {
    "frechet": "lower", "kernel": "lower", "precision": "higher", "recall": "higher", "density": "higher",
    "coverage": "higher", "inception_score": "higher", "modes/covered": "higher", "modes/share": "higher",
    "modes/reverse_kl": "lower", "accuracy/class": "higher", "psnr": "higher", "psnr/hole": "higher", "ssim": "higher",
    "l1": "lower", "l1/hole": "lower", "sharpness": NEAR_ONE, "paired": "lower", "class_kept": "higher",
}  # fmt: skip
OF_IMAGENET = ("inception", "efficientnet")  # extractors that predict ImageNet's classes
SHARES = ("precision", "recall", "coverage", "modes/share", "accuracy/class", "class_kept")
# For each option of `evaluation.metrics`, the names under which its values are reported.
REPORTED_METRICS = {
    "frechet": ("frechet",), "kernel": ("kernel",), "precision_recall": ("precision", "recall"),
    "density_coverage": ("density", "coverage"), "inception_score": ("inception_score",),
    "psnr": ("psnr", "psnr/hole"), "ssim": ("ssim",), "l1": ("l1", "l1/hole"), "sharpness": ("sharpness",),
    "paired": ("paired",), "class_kept": ("class_kept",),
}  # fmt: skip


def check_metric_names(
    metrics: Sequence[str],
    extractor: str,
    *,
    points: bool,
    paired: bool,
    has_latent: bool = True,
    has_classes: bool = True,
    requested: bool = True,
    section: str = "",
) -> None:
    """Raises UsageError if a metric cannot be computed, whatever else the data are.

    `points` says whether the samples are points. `paired` says whether the run has true images to compare with.
    `has_classes` says whether each image has one class; it is true if that is not known yet. `requested` says whether
    samples are made for requested classes. `section` is that of the key, as `evaluation.`.
    """
    predicted = has_classes and extractor in ("auto", "classifier")  # a classifier of the data predicts the classes
    computable = {
        "inception_score": not points and (predicted or extractor in OF_IMAGENET),
        "modes": points or predicted,
        "memorization": not points,
        "class_kept": predicted,
        "class_accuracy": requested and not points and extractor in ("auto", "classifier"),
        "diversity": has_latent,
    }
    for name in metrics:
        if name in PAIRED_METRICS and not paired:
            raise UsageError(f"{section}metrics=[{name}]: {NEEDS_TRUE_IMAGE}")
        if not computable.get(name, True):
            raise UsageError(f"{section}metrics=[{name}]: {REQUIREMENTS[name]}")


def check_metrics_of_run(metrics: Sequence[str], extractor: str, config: Any, section: str = "") -> None:
    """Raises UsageError if a metric cannot be computed for a run with this config, whatever its data are."""
    points, paired = len(config.sample_shape) == 1, config.task.name in WITH_IMAGE
    has_latent = config.architecture.generator.latent_dim > 0
    given: dict[str, bool] = {"has_latent": has_latent, "requested": config.conditioning.name != "none"}
    check_metric_names(metrics, extractor, points=points, paired=paired, **given, section=section)


def selection_metric(metrics: Sequence[str], best: str | None) -> str | None:
    """Returns the name of the metric that selects the best checkpoint: `best`, else the first of `metrics` that can."""
    return best or next((REPORTED_METRICS[metric][0] for metric in metrics if metric in REPORTED_METRICS), None)


def better_direction(name: str) -> str:
    """Returns "lower", "higher" or NEAR_ONE, which is better for a metric; "" for a name not in `BETTER_DIRECTION`."""
    return BETTER_DIRECTION.get(name) or BETTER_DIRECTION.get(name.partition("-")[0], "")


def metric_limits(name: str) -> tuple[float, float]:
    """Returns the least and the most that a metric can be. An estimate of a kernel distance, or an SSIM, can be < 0."""
    base = name.partition("-")[0]
    least = -math.inf if base in ("kernel", "ssim") or not better_direction(name) else float(base == "inception_score")
    return least, 1 if base in (*SHARES, "ssim", "l1", "l1/hole") else math.inf


def metric_option(name: str | None) -> str | None:
    """Returns the option of `evaluation.metrics` that computes a metric; None if no option does (modes/covered)."""
    base = str(name).partition("-")[0]
    return next((metric for metric, names in REPORTED_METRICS.items() if base in names), None)


def ranking_value(name: str, value: float) -> float:
    """Returns a number for a value of the metric `name` that is lower the better the value is."""
    direction = better_direction(name)
    return abs(value - 1) if direction == NEAR_ONE else -value if direction == "higher" else value


def is_better(name: str, value: float, than: float) -> bool:
    """Returns whether `value` is strictly better than `than`, both being values of the metric `name`."""
    return ranking_value(name, value) < ranking_value(name, than)


def find_metric(values: Mapping[str, Any], wanted: str) -> tuple[str, float] | None:
    """Returns (name, value) of the metric `wanted`, as `frechet-classifier` or just `frechet`; None without it."""
    for name, value in values.items():
        if wanted in (name, name.partition("-")[0]) and better_direction(name) and isinstance(value, int | float):
            return name, float(value)
    return None
