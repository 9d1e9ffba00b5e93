"""Line charts of metrics over steps for the reports. Positions are in per cent, so that text keeps its size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

from gan_cli.reports.safe_values import format_number

MOST_POINTS = 500  # of a curve; more would be closer than a pixel
FEW_POINTS = 30  # up to which each point gets a dot
UNITS = 10_000  # width and height of the drawing
DECADES = 2  # positive values that span at least so many get a logarithmic scale
MARGIN = 0.05  # share of the range that is added above and below the values

Point = tuple[float, float]
Bounds = tuple[float | None, float | None]
Tick = tuple[float, str]  # of an axis: its position in per cent from the left or the top, and its label
UNBOUNDED: Bounds = (None, None)


@dataclass(frozen=True)
class Scale:
    """Maps values to a share of the drawing's width or height, linearly or logarithmically."""

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


class Series(NamedTuple):
    """A curve's points (step, value). `colour` is one of the style sheet's, a to e."""

    name: str
    colour: str
    points: Sequence[Point]


class Curve(NamedTuple):
    """A curve to draw: `path` in units of the drawing, `dots` in per cent if there are few points."""

    name: str
    colour: str
    path: str
    dots: tuple[Point, ...]


class Chart(NamedTuple):
    """A chart to draw. `data` are the values that the script shows under the pointer, if it shows any."""

    title: str
    curves: tuple[Curve, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    summary: str
    note: str = ""
    data: dict[str, Any] | None = None


def thin_points(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """Reduces points to at most `most`: the first, the last, and the lowest and highest of each part between them."""
    if len(points) <= most:
        return list(points)
    inner, parts = points[1:-1], max(1, (most - 2) // 2)
    thinned = [points[0]]
    for index in range(parts):
        part = inner[len(inner) * index // parts : len(inner) * (index + 1) // parts]
        thinned += sorted({min(part, key=itemgetter(1)), max(part, key=itemgetter(1))})
    return [*thinned, points[-1]]


def fit_scale(values: Iterable[float], bounds: Bounds = UNBOUNDED) -> Scale:
    """A scale that holds all values and the given `bounds`. Logarithmic without bounds, if the values span DECADES."""
    values = list(values)
    low, high = min(values), max(values)
    if bounds == UNBOUNDED and low > 0 and high / low >= 10**DECADES:
        return Scale(low / 1.3, high * 1.3, log=True)
    low = low if bounds[0] is None else min(low, bounds[0])
    high = high if bounds[1] is None else max(high, bounds[1])
    room = (high - low) * MARGIN or max(abs(high) * MARGIN, 1e-9)
    return Scale(low - room, high + room)


def steps_scale(lasts: Iterable[float]) -> Scale:
    """A scale from step 0 to the largest of `lasts`."""
    return Scale(0.0, max([1.0, *lasts]))


def draw_chart(title: str, series: Sequence[Series], steps: Scale, bounds: Bounds = UNBOUNDED) -> Chart | None:
    """Draws the series in one chart; None if all are empty."""
    series = [each._replace(points=thin_points(sorted(each.points))) for each in series if each.points]
    if not series:
        return None
    values = fit_scale((value for each in series for _, value in each.points), bounds)
    chart = draw_curves(title, series, steps, values, "; ".join(map(_summary, series)))
    data = {"end": steps.high, "series": [_rounded(each) for each in series]}
    return chart._replace(note="logarithmic" if values.log else "", data=data)


def draw_curves(
    title: str, series: Sequence[Series], steps: Scale, values: Scale, summary: str, ticks: tuple[int, int] = (5, 5)
) -> Chart:
    """Draws the series on the two scales, which have at most about so many `ticks`."""
    curves = tuple(_curve(each, steps, values) for each in series)
    x_ticks = tuple((percent(steps.position(x)), format_number(x)) for x in steps.ticks(ticks[0]))
    y_ticks = tuple((percent(1 - values.position(y)), format_number(y)) for y in values.ticks(ticks[1]))
    return Chart(title, curves, x_ticks, y_ticks, summary)


def _curve(series: Series, steps: Scale, values: Scale) -> Curve:
    """Places a series on the two scales, near the drawing, because browsers handle large coordinates badly."""
    points = [(steps.position(x), min(max(1 - values.position(y), -2.0), 3.0)) for x, y in series.points]
    path = " ".join(f"{round(x * UNITS)},{round(y * UNITS)}" for x, y in points)
    dots = tuple((percent(x), percent(y)) for x, y in points) if len(points) <= FEW_POINTS else ()
    return Curve(series.name, series.colour, path, dots)


def percent(share: float) -> float:
    return round(100 * share, 2)


def _rounded(series: Series) -> dict[str, Any]:
    points = [[step if step % 1 else int(step), float(f"{value:.4g}")] for step, value in series.points]
    return {"name": series.name, "colour": series.colour, "points": points}


def _summary(series: Series) -> str:
    """The curve in words, for screen readers."""
    values = [value for _, value in series.points]
    spread = f"between {format_number(min(values))} and {format_number(max(values))}"
    return f"{series.name} from {format_number(values[0])} to {format_number(values[-1])}, {spread}"


def _round_numbers(low: float, high: float, most: int) -> list[float]:
    """At most about `most` multiples of 1, 2 or 5 times a power of ten between `low` and `high`."""
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
