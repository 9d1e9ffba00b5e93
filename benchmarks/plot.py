"""A picture of lines over logarithmic axes, as SVG that reads in a light and in a dark page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 60, 150, 20, 50
COLOURS = ("#2f7ed8", "#d9822b", "#5a9e4b", "#9c5fc4")
GREY = "#808080"


def log_log(
    lines: Mapping[str, Sequence[tuple[float, float]]],
    *,
    across: str,
    up: str,
    ticks: tuple[Sequence[float], Sequence[float]],
) -> str:
    """Points `(x, y)` by line, both above 0; a line goes through the mean of the points that share an x."""
    span = [(math.log(min(values)), math.log(max(values))) for values in _ranges(lines, ticks)]

    def place(x: float, y: float) -> tuple[float, float]:
        (low_x, high_x), (low_y, high_y) = span
        across_share = (math.log(x) - low_x) / (high_x - low_x)
        up_share = (math.log(y) - low_y) / (high_y - low_y)
        return LEFT + across_share * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up_share * (HEIGHT - TOP - BOTTOM)

    parts = _axes(place, ticks, across, up)
    for (name, points), colour in zip(lines.items(), COLOURS, strict=False):
        means = [(x, _mean([y for other, y in points if other == x])) for x in sorted({x for x, _ in points})]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in (place(*point) for point in means))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y in (place(*point) for point in points):
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>')
        x, y = place(*means[-1])
        parts.append(_text(x + 8, y + 4, name, colour, "start"))
    body = "\n".join(parts)
    style = 'font-family="sans-serif" font-size="12"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {style}>\n{body}\n</svg>\n'


def _ranges(lines: Mapping[str, Sequence[tuple[float, float]]], ticks: tuple[Sequence[float], Sequence[float]]) -> list:
    points = [point for values in lines.values() for point in values]
    return [[*(point[axis] for point in points), *ticks[axis]] for axis in (0, 1)]


def _axes(place, ticks: tuple[Sequence[float], Sequence[float]], across: str, up: str) -> list[str]:  # type: ignore[no-untyped-def]
    parts = []
    for x in ticks[0]:
        a, b = place(x, ticks[1][0])[0], HEIGHT - BOTTOM
        parts.append(f'<line x1="{a:.1f}" y1="{TOP}" x2="{a:.1f}" y2="{b}" stroke="{GREY}" stroke-opacity="0.25"/>')
        parts.append(_text(a, b + 18, f"{x:g}", GREY, "middle"))
    for y in ticks[1]:
        b = place(ticks[0][0], y)[1]
        parts.append(
            f'<line x1="{LEFT}" y1="{b:.1f}" x2="{WIDTH - RIGHT}" y2="{b:.1f}" stroke="{GREY}" stroke-opacity="0.25"/>'
        )
        parts.append(_text(LEFT - 8, b + 4, f"{y:g}", GREY, "end"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, across, GREY, "middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turned = f'transform="rotate(-90 16 {middle})"'
    parts.append(f'<text x="16" y="{middle}" fill="{GREY}" text-anchor="middle" {turned}>{escape(up)}</text>')
    return parts


def _text(x: float, y: float, text: str, colour: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">{escape(text)}</text>'


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
