"""What the page of a sweep shows: its leaderboard, each row's spread and failures, curves and last grids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from gan_cli.reports.board import Board, Entry, Failure, read_board
from gan_cli.reports.charts import points_of
from gan_cli.reports.curves import Curve, Scale, Series, Tick, percent, place_curve, scale_of, steps_scale, thin
from gan_cli.reports.curves import x_ticks as ticks_of_steps
from gan_cli.reports.curves import y_ticks as ticks_of_values
from gan_cli.reports.frames import Picture, embed_picture, grids_of
from gan_cli.reports.page import NAME, fit, render
from gan_cli.reports.reading import link, or_empty, or_none, read_json, text
from gan_cli.reports.run_page import Link
from gan_cli.runs.log import read_metrics
from gan_cli.storage.run_folder import BOARD, LOG, RECORD

MOST_SHOWN = 60  # rows with pictures and curves
MOST_LINES = 12  # runs of a row whose curves are drawn
CURVE_POINTS = 160
THUMBNAIL = 420  # pixels
OUTER = 0.01  # of the values at either end, which a scale that all rows share need not hold
LOSSES = [("loss/discriminator", "D", "a"), ("loss/generator", "G", "b")]


class Spread(NamedTuple):
    """A mean, its interval and each seed's value on the scale of all rows, in per cent."""

    mean: float | None
    low: float | None
    high: float | None
    values: tuple[float, ...]


class Small(NamedTuple):
    """A small chart; all rows' have the same scales."""

    title: str
    curves: tuple[Curve, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    summary: str


@dataclass(frozen=True)
class Shown:
    """A row of the leaderboard as the page has it."""

    rank: int
    entry: Entry
    spread: Spread | None
    links: tuple[Link, ...]
    failures: tuple[tuple[Failure, Link | None], ...]


@dataclass(frozen=True)
class Card:
    """A row's last grid and curves."""

    rank: int
    entry: Entry
    picture: Picture | None
    charts: tuple[Small, ...]
    links: tuple[Link, ...]


def runs_of(sweep: Path) -> list[Path]:
    """The folders of its jobs that came to begin a run, by number."""
    found = [path.parent for path in sweep.glob(f"*/{RECORD}") if not path.parent.is_symlink()]
    return sorted(found, key=lambda path: (not path.name.isdecimal(), int(path.name) if path.name.isdecimal() else 0))


def build_sweep_page(sweep: Path, home: Path) -> bytes:
    """The page of a sweep's folder, its links as seen from the folder `home`."""
    board = read_board(sweep)
    names = {folder: _label(folder) for entry in board.entries for folder in entry.folders}
    rows = _rows(board, home, names)
    lines = {folder: or_empty(partial(_lines, folder)) for folder in names}
    charts = or_empty(lambda: _charts(board, lines))
    failures = sum(len(entry.failures) for entry in board.entries)

    def build(budget: int) -> str:
        each = budget // max(1, min(len(rows), MOST_SHOWN))
        cards = [
            Card(
                row.rank,
                row.entry,
                _last_grid(row.entry, each),
                charts[index] if charts else (),
                row.links,
            )
            for index, row in enumerate(rows[:MOST_SHOWN])
        ]
        values = {
            "title": text(sweep.absolute().name, 100),
            "folder": text(str(sweep), 300),
            "board": board,
            "rows": rows,
            "cards": cards,
            "unshown": max(0, len(rows) - MOST_SHOWN),
            "jobs": sum(entry.jobs for entry in board.entries),
            "failures": failures,
            "best": next((row for row in rows if row.entry.repeat and row.entry.mean is not None), None),
            "scale": or_empty(lambda: _ends(board)),
            "links": _links(sweep, home),
        }
        return render("sweep.html.jinja", values)

    return fit(build)


def _lines(folder: Path) -> list[dict[str, Any]]:
    return sorted((line for line in read_metrics(folder) if "step" in line), key=lambda line: line["step"])


def _label(folder: Path) -> str:
    """Of a job: by its seed, where its record tells."""
    record = read_json(folder / RECORD)
    config = record.get("config") if isinstance(record, dict) else None
    seed = text(config.get("seed"), 30) if isinstance(config, dict) else ""
    return f"seed {seed}" if seed else f"job {text(folder.name, 30)}"


def _rows(board: Board, home: Path, names: Mapping[Path, str]) -> list[Shown]:
    scale = or_none(lambda: _scale(board))
    rows = []
    for rank, entry in enumerate(board.entries, 1):
        links = tuple(_run_link(folder, home, names[folder]) for folder in entry.folders)
        failures = tuple((failed, _log_link(entry.homes.get(failed.job), home)) for failed in entry.failures)
        spread = or_none(partial(_spread, entry, scale))
        rows.append(Shown(rank, entry, spread, links, failures))
    return rows


def _run_link(folder: Path, home: Path, name: str) -> Link:
    page = folder / NAME
    return Link(link(page if page.is_file() else folder, home), name)


def _log_link(folder: Path | None, home: Path) -> Link | None:
    return Link(link(folder / LOG, home), "log") if folder is not None and (folder / LOG).is_file() else None


def _links(sweep: Path, home: Path) -> list[Link]:
    notes = {
        "leaderboard.md": "this table to paste",
        "leaderboard.csv": "for a spreadsheet",
        BOARD: "for programs",
        "summary.csv": "a line for each job",
    }
    return [Link(link(sweep / name, home), name, note) for name, note in notes.items() if (sweep / name).is_file()]


# --- spreads -----------------------------------------------------------------------------------------------------


def _scale(board: Board) -> Scale | None:
    """One for the values of all rows. An interval from two seeds may be many times wider and is cut off at its ends."""
    values = [value for entry in board.entries for value in entry.values]
    values += [entry.mean for entry in board.entries if entry.mean is not None]
    if not values:
        return None
    low, high = min(values), max(values)
    room = (high - low) / 2 or abs(high)
    ends = [end for entry in board.entries for end in entry.interval or ()]
    return scale_of([*values, *(min(max(end, low - room), high + room) for end in ends)])


def _ends(board: Board) -> tuple[Tick, ...]:
    scale = _scale(board)
    return () if scale is None else tuple(Tick(percent(scale.place(value)), "") for value in scale.ticks(4))


def _spread(entry: Entry, scale: Scale | None) -> Spread | None:
    if scale is None or (entry.mean is None and not entry.values):
        return None
    places = [percent(min(max(scale.place(value), 0.0), 1.0)) for value in (entry.interval or ())]
    return Spread(
        None if entry.mean is None else percent(scale.place(entry.mean)),
        places[0] if places else None,
        places[1] if places else None,
        tuple(percent(scale.place(value)) for value in entry.values),
    )


# --- cards -------------------------------------------------------------------------------------------------------


def _last_grid(entry: Entry, budget: int) -> Picture | None:
    """Of the first of its runs that left one."""
    for folder in entry.folders if budget else ():
        grids = grids_of(folder)
        picture = embed_picture(grids[-1][1], budget, THUMBNAIL) if grids else None
        if picture is not None:
            return Picture(picture.uri, picture.width, picture.height, grids[-1][0])
    return None


def _charts(board: Board, lines: Mapping[Path, Sequence[Mapping[str, Any]]]) -> list[tuple[Small, ...]]:
    """For each row its losses and, where the lines of metrics hold it, what the sweep is ranked by."""
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
        values = [value for key, *_ in keys for _, value in points_of(every, key)]
        if values:
            drawn.append((title, keys, scale_of(_most(values))))
    return [
        tuple(_small(title, keys, entry, lines, steps, values) for title, keys, values in drawn)
        for entry in board.entries[:MOST_SHOWN]
    ]


def _is_curve(board: Board, lines: Mapping[Path, Sequence[Mapping[str, Any]]]) -> bool:
    """Whether a run was judged more often than once, at its end."""
    return any(len(points_of(each, board.metric)) > 1 for each in lines.values())


def _most(values: Sequence[float]) -> list[float]:
    """Without the outermost, so that one run that diverged does not flatten the curves of all others."""
    ordered = sorted(values)
    cut = int(OUTER * len(ordered))
    return ordered[cut : len(ordered) - cut]


def _small(
    title: str,
    keys: Sequence[tuple[str, str, str]],
    entry: Entry,
    lines: Mapping[Path, Sequence[Mapping[str, Any]]],
    steps: Scale,
    values: Scale,
) -> Small:
    curves = []
    for folder in entry.folders[:MOST_LINES]:
        for key, name, colour in keys:
            points = thin(points_of(lines[folder], key), CURVE_POINTS)
            if points:
                curves.append(place_curve(Series(name, colour, points), steps, values))
    return Small(
        title, tuple(curves), ticks_of_steps(steps, 3), ticks_of_values(values, 4), f"{title} of {entry.label}"
    )
