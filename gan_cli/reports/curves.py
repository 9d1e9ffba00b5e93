"""Figures over steps, thinned, scaled and placed for a page to draw: in per cent, so that text keeps its size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

from gan_cli.reports.reading import figure

MOST_POINTS = 500  # of a curve; more are narrower than a pixel
FEW_POINTS = 30  # of which each is marked
UNITS = 10_000  # across the drawing, down and to the right
DECADES = 2  # from which positive values are drawn on a logarithmic scale
MARGIN = 0.05  # above and below the values

Point = tuple[float, float]


class Tick(NamedTuple):
    """Where, in per cent from the left or the top, and what stands there."""

    position: float
    label: str


@dataclass(frozen=True)
class Scale:
    """From values to a share of the drawing's width or height."""

    low: float
    high: float
    log: bool = False

    def position(self, value: float) -> float:
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            return (math.log10(max(value, self.low * 1e-9)) - low) / (high - low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, most: int) -> list[float]:
        return _decades(self.low, self.high, most) if self.log else _round_numbers(self.low, self.high, most)


@dataclass(frozen=True)
class Series:
    """A curve as it was measured. `colour` is one of the style's, a to e."""

    name: str
    colour: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Curve:
    """A series placed: `path` in units of the drawing, `dots` in per cent where they are few."""

    name: str
    colour: str
    path: str
    dots: tuple[Point, ...]


@dataclass(frozen=True)
class Chart:
    """`data` is what a script needs to tell the values under a pointer."""

    title: str
    note: str
    curves: tuple[Curve, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    summary: str
    data: dict[str, Any]


def thin_points(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most so many points: first, last and, of each stretch between them, the least and the greatest value."""
    if len(points) <= most:
        return list(points)
    inner, stretches = points[1:-1], max(1, (most - 2) // 2)
    kept = [points[0]]
    for index in range(stretches):
        stretch = inner[len(inner) * index // stretches : len(inner) * (index + 1) // stretches]
        kept += sorted({min(stretch, key=itemgetter(1)), max(stretch, key=itemgetter(1))})
    return [*kept, points[-1]]


def fit_scale(values: Iterable[float], bounds: tuple[float | None, float | None] = (None, None)) -> Scale:
    """One that holds all values, and `bounds` where they are given; logarithmic where values span decades."""
    values = list(values)
    low, high = min(values), max(values)
    if bounds == (None, None) and low > 0 and high / low >= 10**DECADES:
        return Scale(low / 1.3, high * 1.3, log=True)
    low = low if bounds[0] is None else min(low, bounds[0])
    high = high if bounds[1] is None else max(high, bounds[1])
    room = (high - low) * MARGIN or max(abs(high) * MARGIN, 1e-9)
    return Scale(low - room, high + room)


def steps_scale(lasts: Iterable[float]) -> Scale:
    """From step 0 to the last of all."""
    return Scale(0.0, max([1.0, *lasts]))


def draw_chart(
    title: str, series: Sequence[Series], steps: Scale, bounds: tuple[float | None, float | None] = (None, None)
) -> Chart | None:
    """None if there is nothing to draw."""
    series = [Series(each.name, each.colour, thin_points(sorted(each.points))) for each in series if each.points]
    if not series:
        return None
    values = fit_scale((value for each in series for _, value in each.points), bounds)
    return Chart(
        title=title,
        note="logarithmic" if values.log else "",
        curves=tuple(place_curve(each, steps, values) for each in series),
        x_ticks=x_ticks(steps),
        y_ticks=y_ticks(values),
        summary="; ".join(_summary(each) for each in series),
        data={"end": steps.high, "series": [_rounded(each) for each in series]},
    )


def place_curve(series: Series, steps: Scale, values: Scale) -> Curve:
    places = [(steps.position(step), 1 - values.position(value)) for step, value in series.points]
    path = " ".join(f"{round(x * UNITS)},{round(_within(y) * UNITS)}" for x, y in places)
    dots = tuple((percent(x), percent(_within(y))) for x, y in places) if len(places) <= FEW_POINTS else ()
    return Curve(series.name, series.colour, path, dots)


def x_ticks(steps: Scale, most: int = 5) -> tuple[Tick, ...]:
    return tuple(Tick(percent(steps.position(step)), figure(step)) for step in steps.ticks(most))


def y_ticks(values: Scale, most: int = 5) -> tuple[Tick, ...]:
    return tuple(Tick(percent(1 - values.position(value)), figure(value)) for value in values.ticks(most))


def percent(share: float) -> float:
    return round(100 * share, 2)


def _within(position: float) -> float:
    """Not so far outside that a browser's arithmetic suffers."""
    return min(max(position, -2.0), 3.0)


def _rounded(series: Series) -> dict[str, Any]:
    points = [[step if step % 1 else int(step), float(f"{value:.4g}")] for step, value in series.points]
    return {"name": series.name, "colour": series.colour, "points": points}


def _summary(series: Series) -> str:
    """For those who cannot see the curve."""
    values = [value for _, value in series.points]
    spread = f"between {figure(min(values))} and {figure(max(values))}"
    return f"{series.name} from {figure(values[0])} to {figure(values[-1])}, {spread}"


def _round_numbers(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, at most so many."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    ticks = [float(f"{(first + index) * step:.10g}") for index in range(most + 1)]
    return [tick for tick in ticks if tick <= high + step * 1e-9]


def _decades(low: float, high: float, most: int) -> list[float]:
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    every = max(1, math.ceil((last - first + 1) / most))
    return [10.0**power for power in range(first, last + 1, every)]
