"""`labels.csv`: several attributes of each picture, as colour and size, from a table a person keeps beside them."""

from __future__ import annotations

import csv
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from gan_cli.errors import UsageError, one_line
from gan_cli.imagefolder.listing import BadPicture, File, Reader

TABLE = "labels.csv"
NO_TABLE = "none"
MOST_BYTES = 256 * 2**20
MOST_CLASSES = 1000
DELIMITERS = ",;\t"


class Attributes(NamedTuple):
    """`labels` of each picture, -1 for an empty cell, count the `classes`, such as `colour=red`.

    They are a list for each attribute; of a single one its classes stand alone. `said` is a line about them.
    """

    labels: list[list[int]]
    classes: tuple[str, ...]
    said: str


class _Table(NamedTuple):
    shown: str
    names: tuple[str, ...]
    rows: dict[str, list[str]]  # the values of each picture, by its path


def read_attributes(
    path: str, named: str | None, reader: Reader, files: Sequence[File], base: tuple[str, ...]
) -> Attributes | None:
    """Of each of `files`, from the table `named`, the one inside the folder or zip `path`, or the one beside it.

    None if there is none, or if `named` is `none`; the one beside is taken only if it is about these pictures. `base`
    are the folders that all paths begin with: inside one of them a table is looked for. UsageError for a table that
    cannot be used or that leaves a picture out.
    """
    if named == NO_TABLE:
        return None
    inside = [file for file in reader.listing.tables if file.parts[:-1] == base[: len(file.parts) - 1]]
    if named is None and not inside:
        return _beside(path, files, base)
    try:
        if named is not None:
            table = _parsed(_bytes_of(os.path.expanduser(named)), one_line(named))
        else:
            table = _inside(max(inside, key=lambda file: len(file.parts)), reader)
        return _attributes(table, files, base)
    except UsageError as error:
        if named is not None:
            raise
        raise UsageError(f"{error}; or leave it out by dataset.labels={NO_TABLE}") from None


def _attributes(table: _Table, files: Sequence[File], base: tuple[str, ...]) -> Attributes:
    """What the table says of each of `files`."""
    same = Counter(_normal(file.parts[-1]) for file in files)
    keys = [_key_of(file, base, table) for file in files]
    missing = [file.name for file, key in zip(files, keys, strict=True) if key is None]
    if missing:
        raise UsageError(
            f"{table.shown}: has no row for {len(missing):,} of {len(files):,} pictures, as {missing[0]};"
            " add them, empty cells are allowed"
        )
    for file, key in zip(files, keys, strict=True):
        if key != "/".join(file.parts) and key != "/".join(file.parts[len(base) :]) and same[key or ""] > 1:
            raise UsageError(f"{table.shown}: {same[key or '']} pictures are called {key}, write their folders, too")
    return _counted(table, [table.rows[key or ""] for key in keys], others=len(table.rows.keys() - set(keys)))


# --- reading -----------------------------------------------------------------------------------------------------


def _inside(file: File, reader: Reader) -> _Table:
    try:
        return _parsed(reader.read(file), f"{reader.listing.shown}/{file.name}")
    except BadPicture as error:
        raise UsageError(f"{file.name}: cannot be read ({error})") from None


def table_beside(path: str) -> str:
    """Where a table would be in the folder that holds `path`."""
    return os.path.join(os.path.dirname(os.path.abspath(os.path.expanduser(path))), TABLE)


def _beside(path: str, files: Sequence[File], base: tuple[str, ...]) -> Attributes | None:
    """From the table in the folder that holds `path`, which may as well be about something else."""
    place = table_beside(path)
    if not os.path.isfile(place):
        return None
    try:
        table = _parsed(_bytes_of(place), one_line(place))
    except UsageError:
        return None
    if not any(_key_of(file, base, table) for file in files):
        return None
    return _attributes(table, files, base)


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
        reader = csv.reader(lines, delimiter=delimiter)
        numbered = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{shown}: is no table in UTF-8 ({one_line(error)})") from None
    if not numbered or len(numbered[0][1]) < 2:
        raise UsageError(f"{shown}: expected a header such as file,colour,size, then a row for each picture")
    names = tuple(unicodedata.normalize("NFC", name) for name in numbered[0][1][1:])
    for name, count in Counter(names).items():
        if not name or "=" in name or count > 1 or one_line(name, 100) != name:
            shown_name = one_line(name, 60)
            raise UsageError(
                f"{shown}: {shown_name!r} in its header: expected names of 1 to 100 letters that differ and have no '='"
            )
    if len(names) > MOST_CLASSES:
        raise UsageError(f"{shown}: has {len(names):,} attributes, at most {MOST_CLASSES:,} are known")
    rows: dict[str, list[str]] = {}
    for number, (picture, *values) in numbered[1:]:
        if len(values) != len(names):
            raise UsageError(f"{shown}: line {number} has {len(values) + 1} cells, its header {len(names) + 1}")
        key = _normal(picture)
        if key in rows:
            raise UsageError(f"{shown}: line {number} is about {one_line(picture, 80)} again")
        rows[key] = [unicodedata.normalize("NFC", value) for value in values]
    return _Table(shown, names, rows)


def _normal(picture: str) -> str:
    path = unicodedata.normalize("NFC", picture).replace("\\", "/")
    return path.removeprefix("./")


def _key_of(file: File, base: tuple[str, ...], table: _Table) -> str | None:
    """By what the table knows a picture: its whole path, that below the common folders, or its bare name."""
    parts = [unicodedata.normalize("NFC", part) for part in file.parts]
    keys = ("/".join(parts), "/".join(parts[len(base) :]), parts[-1])
    return next((key for key in keys if key in table.rows), None)


# --- counting ----------------------------------------------------------------------------------------------------


def _counted(table: _Table, rows: Sequence[Sequence[str]], others: int) -> Attributes:
    labels: list[list[int]] = []
    classes: list[str] = []
    said = []
    for place, name in enumerate(table.names):
        counts = Counter(row[place] for row in rows if row[place])
        values = sorted(counts, key=_in_order)
        if not values:
            raise UsageError(f"{table.shown}: the column {name!r} is empty")
        if len(classes) + len(values) > MOST_CLASSES:
            raise UsageError(f"{table.shown}: up to {name!r} it has more than {MOST_CLASSES:,} values in all")
        wrong = next((value for value in values if "=" in value or one_line(value, 100) != value), None)
        if wrong is not None:
            raise UsageError(
                f"{table.shown}: {one_line(wrong, 60)!r} of {name!r}: expected 1 to 100 letters without '='"
            )
        numbers = {value: len(classes) + number for number, value in enumerate(values)}
        labels.append([numbers.get(row[place], -1) for row in rows])
        classes += values if len(table.names) == 1 else [f"{name}={value}" for value in values]
        some = ", ".join(f"{value} {counts[value]:,}" for value in values[:5]) + (", ..." if len(values) > 5 else "")
        said.append(f"{name} ({some})")
    text = f"labels of {table.shown}: {'; '.join(said)}"
    if others:
        text += f"; {others:,} of its rows are about other pictures"
    return Attributes(labels, tuple(classes), text)


def _in_order(value: str) -> tuple[bool, int, str]:
    """Numbers by their size, then words."""
    number = value.isdecimal() and len(value) < 20
    return (not number, int(value) if number else 0, value)
