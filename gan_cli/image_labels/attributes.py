"""What tables say of pictures: an attribute a column, as colour and size, each with the classes that are its values."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gan_cli.errors import UsageError, one_line
from gan_cli.image_files.listing import File
from gan_cli.image_files.ordering import as_before, natural, number_of
from gan_cli.image_labels.matching import Match, looked_for, matched, place_of
from gan_cli.image_labels.tables import Table

NO_TABLE, FOLDERS, SHARDS = "none", "folders", "shards"  # words in the place of a table
FIRST_VERSION, VERSION = 1, 2  # of how labels are found and ordered
MOST_CLASSES = 1000
MANY = 20  # pictures of which each has another value: an id, where other columns tell more


class Labelling(NamedTuple):
    """How labels are to be found: what the keys `dataset.labels` and `dataset.labels_*` say."""

    table: str | None = None
    file_column: str | None = None
    columns: tuple[str, ...] | None = None
    bins: int | None = None
    version: int = VERSION


class Attributes(NamedTuple):
    """`labels` of each picture, -1 for an empty cell, count the `classes`, such as `colour=red`.

    They are a list for each attribute; of a single one its classes stand alone. `said` is a line about them, which of
    none tells why; `remarks` are what else is to be told.
    """

    labels: list[list[int]]
    classes: tuple[str, ...]
    said: str
    remarks: tuple[str, ...] = ()


class _Column(NamedTuple):
    """An attribute: its name, its values in their order, each with its number of pictures, and that of each picture."""

    name: str
    counts: dict[str, int]
    cells: list[str]
    note: str = ""


def attributes_in(
    table: Table, files: Sequence[File], base: tuple[str, ...], how: Labelling, below: str | None = None
) -> Attributes | None:
    """What the table says of each of `files`; None if it is about none of them.

    UsageError for one that leaves a picture out, or whose columns cannot be used.
    """
    if table.unlabelled:
        return Attributes([], (), f"{table.shown}: {table.unlabelled}")
    match = matched(table, files, base, how.file_column, below)
    if not match.pictures and not match.problem:
        return None
    if match.problem:
        raise UsageError(f"{table.shown}: {match.problem}")
    columns, said = _columns(table, match, how)
    own = match.header[match.column : match.column + 1]
    missing = [file.name for file, row in zip(files, match.found, strict=True) if row is None]
    if missing:
        header, named = (", ".join(one_line(name, 40) for name in names) for names in (match.header[:5], own))
        raise UsageError(
            f"{table.shown}: has no row for {len(missing):,} of {len(files):,} pictures, as {missing[0]};"
            f" add them, empty cells are allowed (its header is {header}; pictures are named by {named})"
        )
    return _counted(table, match, columns, [*table.said, *match.said, *said])


def missed(table: Table, files: Sequence[File]) -> str:
    """Why a table says nothing of any of `files`."""
    return f"{table.shown}: {looked_for(table, files)}"


# --- columns -----------------------------------------------------------------------------------------------------


def _columns(table: Table, match: Match, how: Labelling) -> tuple[list[_Column], list[str]]:
    """The columns that are attributes, and what is to be said of those that are not."""
    places = [place for place in range(len(match.header)) if place != match.column]
    if how.columns is not None:
        named = table._replace(header=match.header)
        places = [place_of(named, name, "labels_columns") for name in how.columns]
    said, names = [], []
    if how.columns is None and len(places) > 1 and not match.header[places[0]]:
        said.append(f"column {places[0] + 1}, which has no name, left out")
        del places[0]
    if len(places) > MOST_CLASSES:
        raise UsageError(f"{table.shown}: has {len(places):,} attributes, at most {MOST_CLASSES:,} are known")
    for place in places:
        names.append(unicodedata.normalize("NFC", match.header[place]))
    _check_names(names, table.shown)
    rows = [match.rows[row][1] for row in match.found if row is not None]
    cells = ([unicodedata.normalize("NFC", row[place]) for row in rows] for place in places)
    found = [_column(name, each, how) for name, each in zip(names, cells, strict=True)]
    return _usable(found, table.shown, how, said)


def _check_names(names: Sequence[str], shown: str) -> None:
    for name, count in Counter(names).items():
        if not name or "=" in name or count > 1 or one_line(name, 100) != name:
            raise UsageError(
                f"{shown}: {one_line(name, 60)!r} in its header: expected names of 1 to 100 letters that differ and"
                " have no '='"
            )


def _column(name: str, cells: list[str], how: Labelling) -> _Column:
    counts = Counter(filter(None, cells))
    order: Callable[[str], Any] = as_before if how.version == FIRST_VERSION else natural
    values = sorted(counts, key=order)
    numbers = [number_of(value) for value in values]
    if how.bins is not None and len(values) > how.bins and None not in numbers:
        return _binned(name, cells, values, counts, how.bins)
    column = _Column(name, {value: counts[value] for value in values}, cells)
    if len(values) < sum(counts.values()) or len(values) < 2 or how.version == FIRST_VERSION:
        return column
    bins = "; dataset.labels_bins=5 makes ranges" if None not in numbers else ""
    return column._replace(note=f"{len(values):,} values for {len(values):,} pictures, each its own class{bins}")


def _binned(name: str, cells: Sequence[str], values: Sequence[str], counts: Counter[str], bins: int) -> _Column:
    """Ranges `18..24` of about as many pictures each; equal numbers are in the same."""
    total, before = sum(counts.values()), 0
    groups: dict[int, list[str]] = {}
    for value in values:
        middle = before + counts[value] / 2
        groups.setdefault(min(bins - 1, int(middle * bins / total)), []).append(value)
        before += counts[value]
    names: dict[str, str] = {}
    for group in groups.values():
        names |= dict.fromkeys(group, group[0] if len(group) == 1 else f"{group[0]}..{group[-1]}")
    binned = [names.get(cell, "") for cell in cells]
    inside = Counter(filter(None, binned))
    note = f"{len(values):,} numbers in {len(groups)} ranges"
    return _Column(name, {each: inside[each] for each in dict.fromkeys(names.values())}, binned, note)


def _usable(found: Sequence[_Column], shown: str, how: Labelling, said: list[str]) -> tuple[list[_Column], list[str]]:
    """The columns that make classes; UsageError for a wrong one if it is the only one, or was named."""
    strict = how.columns is not None or how.version == FIRST_VERSION
    kept: list[_Column] = []
    for column in found:
        unusable = _unusable(column)
        if unusable and (strict or len(found) == 1):
            raise UsageError(f"{shown}: {unusable}")
        if unusable:
            said.append(f"{unusable}: left out")
        else:
            kept.append(column)
    several = [column for column in kept if not _is_id(column)]
    if not strict and several:
        said += [f"{column.name} left out, another for each picture" for column in kept if _is_id(column)]
        kept = several
    few, total = [], 0
    for column in kept:
        if total + len(column.counts) > MOST_CLASSES:
            ranges = (
                "; dataset.labels_bins=10 makes ranges of numbers" if None not in map(number_of, column.counts) else ""
            )
            said.append(
                f"{column.name} has {len(column.counts):,} values, more than {MOST_CLASSES:,}"
                f"{' in all' if total else ''}, and makes no classes{ranges}"
            )
        else:
            few.append(column)
            total += len(column.counts)
    return few, said


def _unusable(column: _Column) -> str:
    if not column.counts:
        return f"the column {column.name!r} is empty"
    wrong = next((value for value in column.counts if "=" in value or one_line(value, 100) != value), None)
    return "" if wrong is None else f"{one_line(wrong, 60)!r} of {column.name!r}: expected 1 to 100 letters without '='"


def _is_id(column: _Column) -> bool:
    return len(column.counts) == len(column.cells) > MANY


# --- counting ----------------------------------------------------------------------------------------------------


def _counted(table: Table, match: Match, columns: Sequence[_Column], said: Sequence[str]) -> Attributes:
    labels: list[list[int]] = []
    classes: list[str] = []
    told = []
    for column in columns:
        values = list(column.counts)
        numbers = {value: len(classes) + number for number, value in enumerate(values)}
        labels.append([numbers.get(cell, -1) for cell in column.cells])
        classes += values if len(columns) == 1 else [f"{column.name}={value}" for value in values]
        some = ", ".join(f"{value} {column.counts[value]:,}" for value in values[:5]) + (
            ", ..." if len(values) > 5 else ""
        )
        told.append(f"{column.name} ({some})")
    text = f"labels of {table.shown}: {'; '.join(told) or 'none'}"
    others = len(match.rows) - len({row for row in match.found if row is not None})
    if others:
        text += f"; {others:,} of its rows are about other pictures"
    notes = [f"{column.name}: {column.note}" for column in columns if column.note]
    return Attributes(labels, tuple(classes), text, (*notes, *said))
