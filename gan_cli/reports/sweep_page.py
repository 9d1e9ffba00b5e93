"""Collects what the report of a sweep shows: leaderboard, intervals, failures, curves and last sample grids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gan_cli.images.animation import list_grids
from gan_cli.reports.charts import logged_lines, metric_points
from gan_cli.reports.curves import Chart, Scale, Series, draw_curves, fit_scale, percent, steps_scale, thin_points
from gan_cli.reports.embedded_images import EmbeddedImage, embed_image
from gan_cli.reports.html_page import NAME, fit_page_size, render
from gan_cli.reports.leaderboard_data import Board, Entry, Failure, read_board
from gan_cli.reports.run_page import Link
from gan_cli.reports.safe_values import empty_on_error, link, none_on_error
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


class LeaderboardRow(NamedTuple):
    """A row of the leaderboard as the page shows it, with the folders of its runs."""

    rank: int
    entry: Entry
    folders: list[Path]
    spread: Spread | None
    links: list[Link]
    failures: list[tuple[Failure, Link | None]]


def list_runs(sweep: Path) -> list[Path]:
    """Returns the folders of the jobs that started a run, sorted by job number."""
    found = [path.parent for path in sweep.glob(f"*/{RECORD}") if not path.parent.is_symlink()]
    return sorted(found, key=lambda path: (not path.name.isdecimal(), int(path.name) if path.name.isdecimal() else 0))


def build_sweep_page(sweep: Path, home: Path) -> bytes:
    """Returns the HTML page of a sweep. Its links are relative to the folder `home`."""
    board = read_board(sweep)
    scale = none_on_error(lambda: _scale(board))
    rows = [_row(rank, entry, scale, sweep, home) for rank, entry in enumerate(board.entries, 1)]
    charts = empty_on_error(lambda: _charts(board.metric, rows)) or [()] * MOST_SHOWN
    values = {
        "title": text(sweep.absolute().name, 100),
        "folder": text(str(sweep), 300),
        "board": board,
        "rows": rows,
        "unshown": max(0, len(rows) - MOST_SHOWN),
        "jobs": sum(len(entry.jobs) for entry in board.entries),
        "failures": sum(len(entry.failures) for entry in board.entries),
        "best": next((row for row in rows if row.entry.repeat and row.entry.mean is not None), None),
        "ticks": empty_on_error(lambda: [percent(scale.position(value)) for value in scale.ticks(4)] if scale else []),
        "links": _links(sweep, home),
    }

    def build(budget: int) -> str:
        shown = list(zip(rows, charts, strict=False))
        cards = [(row, _last_grid(row.folders, budget // len(shown)), each) for row, each in shown]
        return render("sweep.html.jinja", {**values, "cards": cards})

    return fit_page_size(build)


def _row(rank: int, entry: Entry, scale: Scale | None, sweep: Path, home: Path) -> LeaderboardRow:
    folders, links = entry.run_folders(sweep), []
    for folder in folders.values():
        page, seed = folder / NAME, load_record(folder).seed
        name = f"seed {seed}" if seed else f"job {text(folder.name, 30)}"
        links.append(Link(link(page if page.is_file() else folder, home), name))
    logs = {job: Link(link(folder / LOG, home), "log") for job, folder in folders.items() if (folder / LOG).is_file()}
    failures = [(failed, logs.get(failed.job)) for failed in entry.failures]
    spread = none_on_error(lambda: _spread(entry, scale))
    return LeaderboardRow(rank, entry, list(folders.values()), spread, links, failures)


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


def _spread(entry: Entry, scale: Scale | None) -> Spread | None:
    if scale is None or (entry.mean is None and not entry.values):
        return None
    low, high = [percent(min(max(scale.position(end), 0.0), 1.0)) for end in entry.interval or ()] or (None, None)
    mean = None if entry.mean is None else percent(scale.position(entry.mean))
    return Spread(mean, low, high, tuple(percent(scale.position(value)) for value in entry.values))


# --- cards -------------------------------------------------------------------------------------------------------


def _last_grid(runs: Sequence[Path], budget: int) -> EmbeddedImage | None:
    """Returns the last sample grid of the first of the runs that has a grid; None if no run has one."""
    for folder in runs if budget else ():
        for step, path in list_grids(folder)[-1:]:
            if (image := embed_image(path, budget, THUMBNAIL, step)) is not None:
                return image
    return None


def _charts(metric: str, rows: Sequence[LeaderboardRow]) -> list[tuple[Chart, ...]]:
    """Returns the charts of each row: its losses, and the ranking metric if a run logged it more than once."""
    lines = {row.rank: [logged_lines(folder) for folder in row.folders[:MOST_LINES]] for row in rows[:MOST_SHOWN]}
    every = [line for runs in lines.values() for run in runs for line in run]
    if not every:
        return []
    steps = steps_scale(float(line["step"]) for line in every)
    is_curve = any(len(metric_points(run, metric)) > 1 for runs in lines.values() for run in runs)
    plans = {metric: [(metric, metric, "b")]} if is_curve else {}
    plans["losses"] = LOSSES
    scales = {}
    for title, keys in plans.items():
        values = [value for key, *_ in keys for _, value in metric_points(every, key)]
        if values:
            scales[title] = fit_scale(_without_outliers(values))

    def charts(row: LeaderboardRow) -> Iterator[Chart]:
        for title, values in scales.items():
            series = _series(lines[row.rank], plans[title])
            yield draw_curves(title, series, steps, values, f"{title} of {row.entry.label}", (3, 4))

    return [tuple(charts(row)) for row in rows[:MOST_SHOWN]]


def _without_outliers(values: Sequence[float]) -> list[float]:
    """The values without outliers, so that one diverged run does not flatten the curves of all others."""
    ordered = sorted(values)
    cut = int(OUTLIERS * len(ordered))
    return ordered[cut : len(ordered) - cut]


def _series(runs: Sequence[Sequence[Mapping[str, Any]]], keys: Sequence[tuple[str, str, str]]) -> list[Series]:
    """Returns the curves of some runs. `keys` has the key, the name and the colour of each metric."""
    series = [
        Series(name, colour, thin_points(metric_points(lines, key), CURVE_POINTS))
        for lines in runs
        for key, name, colour in keys
    ]
    return [each for each in series if each.points]
