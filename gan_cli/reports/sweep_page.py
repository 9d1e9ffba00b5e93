"""Collects what the report of a sweep shows: leaderboard, intervals, failures, curves and last sample grids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from gan_cli.reports.charts import metric_points
from gan_cli.reports.curves import Curve, Scale, Series, Tick, build_curve, fit_scale, percent, steps_scale, thin_points
from gan_cli.reports.curves import x_ticks as ticks_of_steps
from gan_cli.reports.curves import y_ticks as ticks_of_values
from gan_cli.reports.embedded_images import EmbeddedImage, embed_image, list_grids
from gan_cli.reports.html_page import NAME, fit_page_size, render
from gan_cli.reports.leaderboard_data import Board, Entry, Failure, read_board
from gan_cli.reports.run_page import Link
from gan_cli.reports.safe_values import empty_on_error, link, none_on_error
from gan_cli.runs.log import read_metrics
from gan_cli.storage.json_files import text
from gan_cli.storage.run_folder import LEADERBOARD, LOG, RECORD
from gan_cli.storage.run_record import load_record

MOST_SHOWN = 60  # rows with images and curves
MOST_LINES = 12  # runs of a row with curves
CURVE_POINTS = 160
THUMBNAIL = 420  # pixels
OUTLIERS = 0.01  # share of the values at either end that the common scale ignores
LOSSES = [("loss/discriminator", "D", "a"), ("loss/generator", "G", "b")]


class Spread(NamedTuple):
    """The positions of a mean, its interval and each seed's value on the common scale, in per cent."""

    mean: float | None
    low: float | None
    high: float | None
    values: tuple[float, ...]


class SmallChart(NamedTuple):
    """A small chart. The charts of all rows have the same scales."""

    title: str
    curves: tuple[Curve, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    summary: str


@dataclass(frozen=True)
class LeaderboardRow:
    """A row of the leaderboard as the page shows it."""

    rank: int
    entry: Entry
    spread: Spread | None
    links: tuple[Link, ...]
    failures: tuple[tuple[Failure, Link | None], ...]


class RowCard(NamedTuple):
    """A row with its last grid and curves."""

    row: LeaderboardRow
    image: EmbeddedImage | None
    charts: tuple[SmallChart, ...]


def list_runs(sweep: Path) -> list[Path]:
    """Returns the folders of the jobs that started a run, sorted by job number."""
    found = [path.parent for path in sweep.glob(f"*/{RECORD}") if not path.parent.is_symlink()]
    return sorted(found, key=lambda path: (not path.name.isdecimal(), int(path.name) if path.name.isdecimal() else 0))


def build_sweep_page(sweep: Path, home: Path) -> bytes:
    """Returns the HTML page of a sweep. Its links are relative to the folder `home`."""
    board = read_board(sweep)
    names = {folder: _label(folder) for entry in board.entries for folder in entry.folders}
    rows = _rows(board, home, names)
    lines = {folder: empty_on_error(partial(_lines, folder)) for folder in names}
    charts = empty_on_error(lambda: _charts(board, lines))
    failures = sum(len(entry.failures) for entry in board.entries)

    def build(budget: int) -> str:
        each = budget // max(1, min(len(rows), MOST_SHOWN))
        cards = [
            RowCard(row, _last_grid(row.entry, each), charts[index] if charts else ())
            for index, row in enumerate(rows[:MOST_SHOWN])
        ]
        values = {
            "title": text(sweep.absolute().name, 100),
            "folder": text(str(sweep), 300),
            "board": board,
            "rows": rows,
            "cards": cards,
            "unshown": max(0, len(rows) - MOST_SHOWN),
            "jobs": sum(len(entry.jobs) for entry in board.entries),
            "failures": failures,
            "best": next((row for row in rows if row.entry.repeat and row.entry.mean is not None), None),
            "scale": empty_on_error(lambda: _ends(board)),
            "links": _links(sweep, home),
        }
        return render("sweep.html.jinja", values)

    return fit_page_size(build)


def _lines(folder: Path) -> list[dict[str, Any]]:
    return sorted(read_metrics(folder), key=lambda line: line["step"])


def _label(folder: Path) -> str:
    """Returns the label of a job: its seed if the run's record has a seed, else the name of its folder."""
    seed = load_record(folder).seed
    return f"seed {seed}" if seed else f"job {text(folder.name, 30)}"


def _rows(board: Board, home: Path, names: Mapping[Path, str]) -> list[LeaderboardRow]:
    scale = none_on_error(lambda: _scale(board))
    rows = []
    for rank, entry in enumerate(board.entries, 1):
        links = tuple(_run_link(folder, home, names[folder]) for folder in entry.folders)
        failures = tuple((failed, _log_link(entry.folders_by_job.get(failed.job), home)) for failed in entry.failures)
        spread = none_on_error(partial(_spread, entry, scale))
        rows.append(LeaderboardRow(rank, entry, spread, links, failures))
    return rows


def _run_link(folder: Path, home: Path, name: str) -> Link:
    page = folder / NAME
    return Link(link(page if page.is_file() else folder, home), name)


def _log_link(folder: Path | None, home: Path) -> Link | None:
    return Link(link(folder / LOG, home), "log") if folder is not None and (folder / LOG).is_file() else None


def _links(sweep: Path, home: Path) -> list[Link]:
    notes = {
        "leaderboard.md": "this table in Markdown",
        "leaderboard.csv": "for a spreadsheet",
        LEADERBOARD: "for programs",
        "summary.csv": "a line for each job",
    }
    return [Link(link(sweep / name, home), name, note) for name, note in notes.items() if (sweep / name).is_file()]


# --- spreads -----------------------------------------------------------------------------------------------------


def _scale(board: Board) -> Scale | None:
    """Returns the common scale of all rows' values. Much wider intervals (from two seeds) are clipped to this scale."""
    values = [value for entry in board.entries for value in entry.values]
    values += [entry.mean for entry in board.entries if entry.mean is not None]
    if not values:
        return None
    low, high = min(values), max(values)
    room = (high - low) / 2 or abs(high)
    ends = [end for entry in board.entries for end in entry.interval or ()]
    return fit_scale([*values, *(min(max(end, low - room), high + room) for end in ends)])


def _ends(board: Board) -> tuple[Tick, ...]:
    scale = _scale(board)
    return () if scale is None else tuple(Tick(percent(scale.position(value)), "") for value in scale.ticks(4))


def _spread(entry: Entry, scale: Scale | None) -> Spread | None:
    if scale is None or (entry.mean is None and not entry.values):
        return None
    bounds = [percent(min(max(scale.position(value), 0.0), 1.0)) for value in (entry.interval or ())]
    return Spread(
        None if entry.mean is None else percent(scale.position(entry.mean)),
        bounds[0] if bounds else None,
        bounds[1] if bounds else None,
        tuple(percent(scale.position(value)) for value in entry.values),
    )


# --- cards -------------------------------------------------------------------------------------------------------


def _last_grid(entry: Entry, budget: int) -> EmbeddedImage | None:
    """Returns the last sample grid of the first run of this entry that has a grid; None if no run has one."""
    for folder in entry.folders if budget else ():
        grids = list_grids(folder)
        image = embed_image(grids[-1][1], budget, THUMBNAIL) if grids else None
        if image is not None:
            return EmbeddedImage(image.uri, image.width, image.height, grids[-1][0])
    return None


def _charts(board: Board, lines: Mapping[Path, Sequence[Mapping[str, Any]]]) -> list[tuple[SmallChart, ...]]:
    """Returns the charts of each row: its losses, and the ranking metric if a run logged it more than once."""
    every = [
        line for entry in board.entries[:MOST_SHOWN] for folder in entry.folders[:MOST_LINES] for line in lines[folder]
    ]
    if not every:
        return []
    steps = steps_scale(float(line["step"]) for line in every)
    plans = [(board.metric, [(board.metric, board.metric, "b")])] if _is_curve(board, lines) else []
    plans.append(("losses", LOSSES))
    drawn = []
    for title, keys in plans:
        values = [value for key, *_ in keys for _, value in metric_points(every, key)]
        if values:
            drawn.append((title, keys, fit_scale(_without_outliers(values))))
    return [
        tuple(_small_chart(title, keys, entry, lines, steps, values) for title, keys, values in drawn)
        for entry in board.entries[:MOST_SHOWN]
    ]


def _is_curve(board: Board, lines: Mapping[Path, Sequence[Mapping[str, Any]]]) -> bool:
    """Returns True if the ranking metric was logged more than once in at least one run."""
    return any(len(metric_points(each, board.metric)) > 1 for each in lines.values())


def _without_outliers(values: Sequence[float]) -> list[float]:
    """The values without outliers, so that one diverged run does not flatten the curves of all others."""
    ordered = sorted(values)
    cut = int(OUTLIERS * len(ordered))
    return ordered[cut : len(ordered) - cut]


def _small_chart(
    title: str,
    keys: Sequence[tuple[str, str, str]],
    entry: Entry,
    lines: Mapping[Path, Sequence[Mapping[str, Any]]],
    steps: Scale,
    values: Scale,
) -> SmallChart:
    curves = []
    for folder in entry.folders[:MOST_LINES]:
        for key, name, colour in keys:
            points = thin_points(metric_points(lines[folder], key), CURVE_POINTS)
            if points:
                curves.append(build_curve(Series(name, colour, points), steps, values))
    return SmallChart(
        title, tuple(curves), ticks_of_steps(steps, 3), ticks_of_values(values, 4), f"{title} of {entry.label}"
    )
