"""What `gan-eval` found, drawn: each figure from 0, with its interval and what real samples score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gan_cli.config.metric_names import EVALUATIONS, Figure, newest_evaluated
from gan_cli.reports.curves import percent
from gan_cli.reports.reading import number, text, whole

MOST_FIGURES = 60


class Bar(NamedTuple):
    """A figure drawn from 0: places in per cent."""

    start: float
    length: float
    low: float | None
    high: float | None
    floor: float | None


@dataclass(frozen=True)
class Judgement:
    """A figure, checked, with its drawing."""

    name: str
    value: float
    interval: tuple[float, float] | None
    floor: float | None
    n: int | None
    better: str
    note: str
    bar: Bar


@dataclass(frozen=True)
class Judged:
    """`about` says of which samples, by which features; `pairs` shows samples beside what is nearest to them."""

    figures: tuple[Judgement, ...]
    about: tuple[tuple[str, str], ...]
    verdict: str
    pairs: Path | None


def judged_of(run: Path) -> Judged | None:
    """The newest evaluation of a run, if it has one."""
    evaluated = newest_evaluated(run)
    if evaluated is None:
        return None
    found = [_judgement(each) for each in evaluated.figures[:MOST_FIGURES]]
    known = [(key, value) for key, value in evaluated.about.items() if not isinstance(value, dict)][:20]
    about = [(text(key, 40).replace("_", " "), _told(value)) for key, value in known]
    page = text(evaluated.about.get("page"), 255)
    return Judged(
        figures=tuple(each for each in found if each is not None),
        about=tuple((key, told) for key, told in about if key and told),
        verdict=text(evaluated.about.get("verdict"), 300),
        pairs=run / EVALUATIONS / page if page and Path(page).name == page else None,
    )


def _told(value: Any) -> str:
    if isinstance(value, list):
        return text(", ".join(text(each) for each in value[:20]), 500)
    found = number(value)
    return text(value) if found is None or found.is_integer() else f"{found:.4g}"


def _judgement(figure: Figure) -> Judgement | None:
    value, floor = number(figure.value), number(figure.floor)
    if value is None:
        return None
    pair = [number(end) for end in figure.interval or ()]
    interval = (pair[0], pair[1]) if len(pair) == 2 and pair[0] is not None and pair[1] is not None else None
    better = figure.better if figure.better in ("lower", "higher") else ""
    return Judgement(
        name=text(figure.name, 80),
        value=value,
        interval=interval,
        floor=floor,
        n=whole(figure.n),
        better=better,
        note=text(figure.note, 300),
        bar=_bar(value, interval, floor),
    )


def _bar(value: float, interval: tuple[float, float] | None, floor: float | None) -> Bar:
    known = [0.0, value, *(interval or ()), *(() if floor is None else (floor,))]
    low, high = min(known), max(known)
    span = (high - low) * 1.04 or 1.0

    def place(number: float) -> float:
        return percent((number - low) / span)

    return Bar(
        start=place(min(value, 0.0)),
        length=round(place(max(value, 0.0)) - place(min(value, 0.0)), 2),
        low=None if interval is None else place(interval[0]),
        high=None if interval is None else place(interval[1]),
        floor=None if floor is None else place(floor),
    )
