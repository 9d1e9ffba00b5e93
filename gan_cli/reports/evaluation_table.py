"""The results of `gan-eval` for a report: each metric as a bar from 0, with its interval and floor."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from gan_cli.config.metric_names import is_better
from gan_cli.errors import format_number
from gan_cli.reports.curves import percent
from gan_cli.storage.evaluation_file import EVALUATIONS, MetricResult, load_newest_evaluation
from gan_cli.storage.json_files import text

# Labels of the keys of an evaluation's `about` that do not explain themselves.
LABELS = {
    "told": "notes on the data",
    "why": "why this extractor",
    "accuracy": "accuracy of the classifier",
    "n": "generated samples",
    "n_real": "real samples",
    "reals": "kind of real samples",
    "standing": "batch norm statistics recomputed",
    "page": "image of pairs",
    "gan_cli": "gan-cli",
}


class Bar(NamedTuple):
    """The bar of a metric, drawn from 0. Positions are in per cent of the width."""

    start: float
    length: float
    low: float | None
    high: float | None
    floor: float | None


class EvaluationSection(NamedTuple):
    """An evaluation as the report shows it. Each row is a metric with its bar.

    `about` describes samples and features. `not_beaten` has a line for each metric that is better without the network.
    `pairs` is the file with samples above their nearest training images.
    """

    rows: list[tuple[MetricResult, Bar]]
    about: list[tuple[str, str]]
    verdict: str
    not_beaten: list[str]
    pairs: Path | None


def read_newest_evaluation(run: Path) -> EvaluationSection | None:
    """Returns the newest readable evaluation of a run, or None if there is none."""
    evaluated = load_newest_evaluation(run)
    if evaluated is None:
        return None
    items = [(key, value) for key, value in evaluated.about.items() if not isinstance(value, dict)][:20]
    about = [(LABELS.get(key) or text(key, 40).replace("_", " "), _value_text(value)) for key, value in items]
    page, verdict = text(evaluated.about.get("page"), 255), text(evaluated.about.get("verdict"), 300)
    pairs = run / EVALUATIONS / page if page and Path(page).name == page else None
    rows = [(each, _bar(each)) for each in evaluated.figures]
    about, worse = [(key, value) for key, value in about if key and value], map(describe_not_beaten, evaluated.figures)
    return EvaluationSection(rows, about, verdict, [text(line, 300) for line in worse if line], pairs)


def _value_text(value: Any) -> str:
    if isinstance(value, list):
        return text(", ".join(text(each) for each in value[:20]), 500)
    return format_number(value) if isinstance(value, float) else text(value)


def _bar(metric: MetricResult) -> Bar:
    ends, interval = sorted((0.0, metric.value)), metric.interval or (None, None)
    known = [end for end in (*ends, *interval, metric.floor) if end is not None]
    low, high = min(known), max(known)
    span = (high - low) * 1.04 or 1.0
    start, stop = (percent((end - low) / span) for end in ends)
    others = (None if end is None else percent((end - low) / span) for end in (*interval, metric.floor))
    return Bar(start, round(stop - start, 2), *others)


def describe_not_beaten(metric: MetricResult) -> str:
    """Returns a line if a metric of a network is not better than that without one, else an empty text."""
    other = metric.without_network
    if other is None:
        return ""
    if metric.value > other if metric.better == "higher" else is_better(metric.name, metric.value, other):
        return ""
    numbers = format_number(metric.value, 3), format_number(other, 3)
    return f"{metric.name} {numbers[0]} does not beat {metric.method} without a network, {numbers[1]}"
