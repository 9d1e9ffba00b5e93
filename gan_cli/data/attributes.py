"""`labels.csv`: several attributes of each picture, as colour and size, from a table a person keeps beside them."""

from __future__ import annotations

import csv
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gan_cli.data.decoding import BadPicture
from gan_cli.data.listing import File, Reader
from gan_cli.errors import UsageError, one_line

TABLE = "labels.csv"
MOST_BYTES = 256 * 2**20
MOST_CLASSES = 1000
DELIMITERS = ",;\t"


class Attributes(NamedTuple):
    """`labels` int64 `[N, attributes]`, -1 for an empty cell, count the `classes`, such as `colour=red`.

    Of a single attribute they are `[N]`, and its classes stand alone. `said` is a line about them.
    """

    labels: Tensor
    classes: tuple[str, ...]
    said: str


class _Table(NamedTuple):
    shown: str
    names: tuple[str, ...]
    rows: dict[str, list[str]]  # the values of each picture, by its path


def read_attributes(
    path: str, named: str | None, reader: Reader, files: Sequence[File], base: int
) -> Attributes | None:
    """Of each of `files`, from the table `named`, the one inside the folder or zip `path`, or the one beside it.

    None if there is none; the one beside is taken only if it is about these pictures. `base` is the number of folders
    that all paths begin with. UsageError for a table that cannot be used or that leaves a picture out.
    """
    table = _find(path, named, reader)
    if table is None:
        return None
    rows = [_row_of(file, base, table) for file in files]
    if named is None and not any(row is not None for row in rows) and not reader.listing.tables:
        return None
    missing = [file.name for file, row in zip(files, rows, strict=True) if row is None]
    if missing:
        raise UsageError(
            f"{table.shown}: has no row for {len(missing):,} of {len(files):,} pictures, as {missing[0]};"
            " add them, empty cells are allowed"
        )
    return _counted(table, [row or [] for row in rows])


# --- reading -----------------------------------------------------------------------------------------------------


def _find(path: str, named: str | None, reader: Reader) -> _Table | None:
    if named is not None:
        return _parsed(_bytes_of(os.path.expanduser(named)), one_line(named))
    if reader.listing.tables:
        file = min(reader.listing.tables, key=lambda file: len(file.parts))
        try:
            return _parsed(reader.read(file), f"{reader.listing.shown}/{file.name}")
        except BadPicture as error:
            raise UsageError(f"{file.name}: cannot be read ({error})") from None
    beside = os.path.join(os.path.dirname(os.path.abspath(os.path.expanduser(path))), TABLE)
    return _parsed(_bytes_of(beside), one_line(beside)) if os.path.isfile(beside) else None


def _bytes_of(path: str) -> bytes:
    try:
        if not os.path.isfile(path):
            raise UsageError(f"dataset.labels={one_line(path)}: not found, expected a table such as {TABLE}")
        if os.path.getsize(path) > MOST_BYTES:
            raise UsageError(f"dataset.labels={one_line(path)}: larger than {MOST_BYTES >> 20} MiB")
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        raise UsageError(f"dataset.labels={one_line(path)}: cannot be read ({one_line(error)})") from None


def _parsed(content: bytes, shown: str) -> _Table:
    """A header and a row for each picture, its path first; between cells a comma, a semicolon or a tab."""
    try:
        lines = content.decode("utf-8-sig").splitlines()
        header = lines[0] if lines else ""
        delimiter = max(DELIMITERS, key=header.count)
        cells = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter) if any(row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{shown}: is no table in UTF-8 ({one_line(error)})") from None
    if not cells or len(cells[0]) < 2:
        raise UsageError(f"{shown}: expected a header such as file,colour,size, then a row for each picture")
    names = tuple(unicodedata.normalize("NFC", name) for name in cells[0][1:])
    for name, count in Counter(names).items():
        if not name or "=" in name or count > 1:
            raise UsageError(f"{shown}: {name!r} in its header: expected names that differ and have no '='")
    rows: dict[str, list[str]] = {}
    for number, (picture, *values) in enumerate(cells[1:], start=2):
        if len(values) != len(names):
            raise UsageError(f"{shown}: row {number} has {len(values) + 1} cells, its header {len(names) + 1}")
        key = _normal(picture)
        if key in rows:
            raise UsageError(f"{shown}: row {number} is about {one_line(picture, 80)} again")
        rows[key] = [unicodedata.normalize("NFC", value) for value in values]
    return _Table(shown, names, rows)


def _normal(picture: str) -> str:
    path = unicodedata.normalize("NFC", picture).replace("\\", "/")
    return path.removeprefix("./")


def _row_of(file: File, base: int, table: _Table) -> list[str] | None:
    """By the picture's whole path, by that below the folders all have in common, or by its bare name."""
    parts = [unicodedata.normalize("NFC", part) for part in file.parts]
    for key in ("/".join(parts), "/".join(parts[base:]), parts[-1]):
        if key in table.rows:
            return table.rows[key]
    return None


# --- counting ----------------------------------------------------------------------------------------------------


def _counted(table: _Table, rows: Sequence[Sequence[str]]) -> Attributes:
    labels = torch.full((len(rows), len(table.names)), -1)
    classes: list[str] = []
    said = []
    for place, name in enumerate(table.names):
        counts = Counter(row[place] for row in rows if row[place])
        values = sorted(counts, key=lambda value: (not value.isdigit(), int(value) if value.isdigit() else 0, value))
        if not values:
            raise UsageError(f"{table.shown}: the column {name!r} is empty")
        if len(classes) + len(values) > MOST_CLASSES:
            raise UsageError(f"{table.shown}: {name!r} has {len(values):,} values, more than {MOST_CLASSES:,} in all")
        wrong = next((value for value in values if "=" in value or one_line(value, 100) != value), None)
        if wrong is not None:
            raise UsageError(
                f"{table.shown}: {one_line(wrong, 60)!r} of {name!r}: expected 1 to 100 letters without '='"
            )
        numbers = {value: len(classes) + number for number, value in enumerate(values)}
        labels[:, place] = torch.tensor([numbers.get(row[place], -1) for row in rows])
        classes += values if len(table.names) == 1 else [f"{name}={value}" for value in values]
        some = ", ".join(f"{value} {counts[value]:,}" for value in values[:5]) + (", ..." if len(values) > 5 else "")
        said.append(f"{name} ({some})")
    text = f"labels of {table.shown}: {'; '.join(said)}"
    return Attributes(labels.squeeze(1), tuple(classes), text)
