"""The results of `gan-eval` for a report: each metric as a bar from 0, with its interval and floor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gan_cli.config.metric_names import EVALUATIONS, MetricResult, load_newest_evaluation
from gan_cli.reports.curves import percent
from gan_cli.reports.safe_values import as_int, number, text

MOST_METRICS = 60
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


@dataclass(frozen=True)
class MetricRow:
    """A validated metric with its bar."""

    name: str
    value: float
    interval: tuple[float, float] | None
    floor: float | None
    n: int | None
    better: str
    note: str
    bar: Bar


@dataclass(frozen=True)
class EvaluationSection:
    """An evaluation as the report shows it.

    `about` describes samples and features. `pairs` is the file with samples above their nearest training images.
    """

    rows: tuple[MetricRow, ...]
    about: tuple[tuple[str, str], ...]
    verdict: str
    pairs: Path | None


def read_newest_evaluation(run: Path) -> EvaluationSection | None:
    """Returns the newest readable evaluation of a run, or None if there is none."""
    evaluated = load_newest_evaluation(run)
    if evaluated is None:
        return None
    rows = [_metric_row(each) for each in evaluated.figures[:MOST_METRICS]]
    items = [(key, value) for key, value in evaluated.about.items() if not isinstance(value, dict)][:20]
    about = [(_label(key), _value_text(value)) for key, value in items]
    page = text(evaluated.about.get("page"), 255)
    return EvaluationSection(
        rows=tuple(row for row in rows if row is not None),
        about=tuple((key, value) for key, value in about if key and value),
        verdict=text(evaluated.about.get("verdict"), 300),
        pairs=run / EVALUATIONS / page if page and Path(page).name == page else None,
    )


def _label(key: str) -> str:
    return LABELS.get(key) or text(key, 40).replace("_", " ")


def _value_text(value: Any) -> str:
    if isinstance(value, list):
        return text(", ".join(text(each) for each in value[:20]), 500)
    found = number(value)
    return text(value) if found is None or found.is_integer() else f"{found:.4g}"


def _metric_row(metric: MetricResult) -> MetricRow | None:
    value, floor = number(metric.value), number(metric.floor)
    if value is None:
        return None
    pair = [number(end) for end in metric.interval or ()]
    interval = (pair[0], pair[1]) if len(pair) == 2 and pair[0] is not None and pair[1] is not None else None
    better = metric.better if metric.better in ("lower", "higher") else ""
    return MetricRow(
        name=text(metric.name, 80),
        value=value,
        interval=interval,
        floor=floor,
        n=as_int(metric.n),
        better=better,
        note=text(metric.note, 300),
        bar=_bar(value, interval, floor),
    )


def _bar(value: float, interval: tuple[float, float] | None, floor: float | None) -> Bar:
    known = [0.0, value, *(interval or ()), *(() if floor is None else (floor,))]
    low, high = min(known), max(known)
    span = (high - low) * 1.04 or 1.0

    def position(end: float) -> float:
        return percent((end - low) / span)

    return Bar(
        start=position(min(value, 0.0)),
        length=round(position(max(value, 0.0)) - position(min(value, 0.0)), 2),
        low=None if interval is None else position(interval[0]),
        high=None if interval is None else position(interval[1]),
        floor=None if floor is None else position(floor),
    )
