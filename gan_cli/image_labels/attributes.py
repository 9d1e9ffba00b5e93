"""Reads attributes from a table of labels. A column such as colour is an attribute; its values are classes."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from gan_cli.errors import UsageError, count_noun, first_few, one_line
from gan_cli.image_files.listing import ListedFile
from gan_cli.image_labels.table_matching import Match, column_index, match_table
from gan_cli.image_labels.tables import Table

LABEL_KEYWORDS = NO_TABLE, FOLDERS, SHARDS = ("none", "folders", "shards")  # values of dataset.labels besides a path
FIRST_VERSION, VERSION = 1, 2  # versions of the rules by which labels are found and ordered
MOST_CLASSES = 1000
NUMBER = re.compile(r"[+-]?[0-9]{1,18}([.,][0-9]{1,18})?([eE][+-]?[0-9]{1,2})?")
DIGITS = re.compile(r"[0-9]+")
MANY = 20  # if a column has more images than this and all values differ, it is an id


class LabelOptions(NamedTuple):
    """The options that say how labels are found: the keys `dataset.labels` and `dataset.labels_*`."""

    table: str | None = None
    file_column: str | None = None
    columns: tuple[str, ...] | None = None
    bins: int | None = None
    version: int = VERSION


class FoundLabels(NamedTuple):
    """Labels from a table."""

    # The class number of each image, or a tuple of these if there are several attributes; -1 for an empty cell.
    labels: list[int] | list[tuple[int, ...]] | None = None
    classes: tuple[str, ...] = ()  # names such as `colour=red`, or `red` if there is only one attribute
    summary: str = ""  # a line that describes the labels
    remarks: tuple[str, ...] = ()  # further lines for the user
    inside: ListedFile | None = None  # the table if it lies inside the data path
    unlabelled: bool = False  # a table without labels shows that sub-folders are not classes


class _Column(NamedTuple):
    """An attribute."""

    name: str
    counts: dict[str, int]  # the number of images of each value, in the order of the classes
    cells: list[str]  # the value of each image
    note: str = ""  # a remark for the user


def read_labels(
    table: Table, files: Sequence[ListedFile], base: tuple[str, ...], how: LabelOptions, below: str | None = None
) -> FoundLabels | None:
    """Returns the labels of `files`, read from the table. Returns None if the table names none of the files.

    `base` are the folders that all images share. `below` is explained at `match_table`. Raises UsageError if the table
    names some of the images but lacks a row for others, or if its columns cannot be used.
    """
    if table.unlabelled:
        return FoundLabels(remarks=(f"{table.shown}: {table.unlabelled}",), unlabelled=True)
    match = match_table(table, files, base, how.file_column, below)
    if match.problem:
        raise UsageError(f"{table.shown}: {match.problem}")
    if not match.image_count:
        return None
    columns, remarks = _columns(match, how)
    missing = [file.name for file, row in zip(files, match.found, strict=True) if row is None]
    if missing:
        names = [one_line(name, 40) for name in match.table.header]
        raise UsageError(
            f"{table.shown}: has no row for {len(missing):,} of {count_noun(len(files), 'image')}, as {missing[0]};"
            f" add them, empty cells are allowed (its header is {', '.join(names[:5])}; images are named by"
            f" {names[match.column]})"
        )
    return _labels_of_columns(match, columns, [*table.remarks, *match.remarks, *remarks])


def _columns(match: Match, how: LabelOptions) -> tuple[list[_Column], list[str]]:
    """Returns the columns that are attributes, and remarks about the others. Raises UsageError for an unusable name."""
    remarks, table = [], match.table
    if how.columns is not None:
        indices = [column_index(table, name, "labels_columns") for name in how.columns]
    else:
        indices = [index for index in range(len(table.header)) if index != match.column]
        if len(indices) > 1 and not table.header[indices[0]]:
            remarks.append(f"column {indices.pop(0) + 1}, which has no name, left out")
    if len(indices) > MOST_CLASSES:
        raise UsageError(f"{table.shown}: has {len(indices):,} attributes, at most {MOST_CLASSES:,} are supported")
    names = [unicodedata.normalize("NFC", table.header[index]) for index in indices]
    for name, count in Counter(names).items():
        if not name or "=" in name or count > 1 or one_line(name, 100) != name:
            raise UsageError(
                f"{table.shown}: {one_line(name, 60)!r} in its header: expected names of 1 to 100 letters that differ"
                " and have no '='"
            )
    rows = [table.rows[row][1] for row in match.found if row is not None]
    cells = ([unicodedata.normalize("NFC", row[index]) for row in rows] for index in indices)
    found = [_column(name, each, how) for name, each in zip(names, cells, strict=True)]
    return _usable(found, table.shown, how, remarks), remarks


def _column(name: str, cells: list[str], how: LabelOptions) -> _Column:
    """Returns the attribute of a column. More numbers than `labels_bins`, if that is set, are grouped into ranges."""
    counts = Counter(filter(None, cells))
    values = sorted(counts, key=version_1_key if how.version == FIRST_VERSION else natural_key)
    numeric = None not in map(parse_number, values)
    if how.bins is not None and len(values) > how.bins and numeric:
        return _binned(name, cells, values, counts, how.bins)
    note = ""
    if 2 <= len(values) == counts.total() and how.version != FIRST_VERSION:
        advice = "; dataset.labels_bins=5 makes ranges" if numeric else ""
        note = f"{len(values):,} values for {count_noun(len(values), 'image')}, each its own class{advice}"
    return _Column(name, {value: counts[value] for value in values}, cells, note)


def _binned(name: str, cells: Sequence[str], values: Sequence[str], counts: Counter[str], bins: int) -> _Column:
    """Returns the attribute with numbers grouped into at most `bins` ranges such as `18..24`, of about equal counts."""
    total, before = counts.total(), 0
    groups: dict[int, list[str]] = {}
    for value in values:
        middle = before + counts[value] / 2
        groups.setdefault(min(bins - 1, int(middle * bins / total)), []).append(value)
        before += counts[value]
    names: dict[str, str] = {}
    for group in groups.values():
        names |= dict.fromkeys(group, group[0] if len(group) == 1 else f"{group[0]}..{group[-1]}")
    binned = [names.get(cell, "") for cell in cells]
    inside = Counter(binned)
    note = f"{len(values):,} numbers in {len(groups)} ranges"
    return _Column(name, {each: inside[each] for each in names.values()}, binned, note)


def _usable(found: Sequence[_Column], shown: str, how: LabelOptions, remarks: list[str]) -> list[_Column]:
    """Returns the columns that give classes. Adds a remark about each other column.

    Raises UsageError if a column cannot be used and is the only one or was named by the user. In labels version 1, any
    unusable column is an error.
    """
    strict = how.columns is not None or how.version == FIRST_VERSION
    usable = [column for column in found if not _unusable(column)]
    for problem in filter(None, map(_unusable, found)):
        if strict or len(found) == 1:
            raise UsageError(f"{shown}: {problem}")
        remarks.append(f"{problem}: left out")
    ids = [column.name for column in usable if len(column.counts) == len(column.cells) > MANY]
    if not strict and len(ids) < len(usable):
        remarks += [f"{name} left out, it differs for each image" for name in ids]
        usable = [column for column in usable if column.name not in ids]
    return _within_limit(usable, remarks)


def _within_limit(columns: Sequence[_Column], remarks: list[str]) -> list[_Column]:
    """Returns the columns that together have at most MOST_CLASSES values. Adds a remark about each other column."""
    selected, total = [], 0
    for column in columns:
        if total + len(column.counts) <= MOST_CLASSES:
            selected.append(column)
            total += len(column.counts)
            continue
        numeric = None not in map(parse_number, column.counts)
        remarks.append(
            f"{column.name} has {len(column.counts):,} values, more than {MOST_CLASSES:,}{' in all' if total else ''},"
            f" and makes no classes{'; dataset.labels_bins=10 makes ranges of numbers' if numeric else ''}"
        )
    return selected


def _unusable(column: _Column) -> str:
    """Returns why a column cannot be used, or an empty text if it can be used."""
    if not column.counts:
        return f"the column {column.name!r} is empty"
    wrong = next((value for value in column.counts if "=" in value or one_line(value, 100) != value), None)
    return "" if wrong is None else f"{one_line(wrong, 60)!r} of {column.name!r}: expected 1 to 100 letters without '='"


def _labels_of_columns(match: Match, columns: Sequence[_Column], remarks: Sequence[str]) -> FoundLabels:
    """Returns the labels with the values of the columns numbered as classes, and a line that describes them."""
    labels: list[list[int]] = []
    classes: list[str] = []
    counts = []
    for column in columns:
        numbers = {value: number for number, value in enumerate(column.counts, start=len(classes))}
        labels.append([numbers.get(cell, -1) for cell in column.cells])
        classes += [value if len(columns) == 1 else f"{column.name}={value}" for value in column.counts]
        shown = first_few([f"{value} {count:,}" for value, count in column.counts.items()], 5)
        counts.append(f"{column.name} ({shown})")
    text = f"labels of {match.table.shown}: {'; '.join(counts) or 'none'}"
    if others := len(match.table.rows) - len({row for row in match.found if row is not None}):
        text += f"; {others:,} of its rows are about other images"
    notes = [f"{column.name}: {column.note}" for column in columns if column.note]
    if not labels:
        return FoundLabels(remarks=(text, *remarks))
    of_images = list(zip(*labels, strict=True)) if len(labels) > 1 else labels[0]
    return FoundLabels(of_images, tuple(classes), text, (*notes, *remarks))


def parse_number(name: str) -> float | None:
    """Returns the value of a name that is a number, such as `30.2` or `30,2`, or None for any other name."""
    return float(name.replace(",", ".")) if NUMBER.fullmatch(name) else None


def natural_key(name: str) -> tuple[bool, float, str, str]:
    """Returns a sort key that gives the order 0, 1, 2, 10, then class1, class2, class10."""
    number = parse_number(name)
    padded = DIGITS.sub(lambda found: found[0].zfill(20), name)
    return (number is None, 0.0 if number is None else number, padded, name)


def version_1_key(name: str) -> tuple[bool, int, str]:
    """Returns the sort key of labels version 1: non-negative integers by value, then all other names as text."""
    number = name.isdecimal() and len(name) < 20
    return (not number, int(name) if number else 0, name)
