"""Which row of a table is about which picture, and which of its columns says so."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from gan_cli.errors import UsageError, closest, one_line
from gan_cli.image_files.formats import FOREIGN, READ
from gan_cli.image_files.listing import File
from gan_cli.image_labels.tables import Table

ABSOLUTE = re.compile(r"/|[A-Za-z]:/|[a-z][a-z0-9]*://")
LOOKED_AT = 1000  # rows by which columns are put in order before all are
ENDINGS = (*READ, *FOREIGN)


class Match(NamedTuple):
    """The row of each picture by its place in `rows`, None where there is none, found by `column`.

    `header` are the names of the columns, `column 1` and so on where line 1 is about a picture. `problem` is what makes
    the match unusable, `said` how names were compared where that is not plain.
    """

    column: int
    header: tuple[str, ...]
    rows: list[tuple[int, list[str]]]
    found: list[int | None]
    said: tuple[str, ...]
    problem: str = ""

    @property
    def pictures(self) -> int:
        return sum(row is not None for row in self.found)


def matched(
    table: Table, files: Sequence[File], base: tuple[str, ...], column: str | None = None, below: str | None = None
) -> Match:
    """The match by the column of this name, or by that which is about the most pictures; the first of equal ones.

    Folders that stand before names in the table are passed over, only the folder `below` if one is given.
    """
    names = _Names(files, base)
    best: Match | None = None
    for place in _likely(table, files) if column is None else [place_of(table, column, "labels_file_column")]:
        match = _by_column(table, place, names, below)
        if best is None or match.pictures > best.pictures:
            best = match
        if best.pictures == len(files):
            break
    assert best is not None
    return best


def place_of(table: Table, name: str, key: str) -> int:
    """Where the column `name` is; UsageError names those that there are."""
    for known in (table.header, tuple(column.casefold() for column in table.header)):
        if (wanted := name if known is table.header else name.casefold()) in known:
            return known.index(wanted)
    numbered = re.fullmatch(r"(?:column )?([0-9]{1,6})", name)
    if numbered and 0 < int(numbered[1]) <= len(table.header):
        return int(numbered[1]) - 1
    some = ", ".join(one_line(column, 40) for column in table.header[:20])
    raise UsageError(f"dataset.{key}: {table.shown} has no column {name!r}, only {some}{closest(name, table.header)}")


def looked_for(table: Table, files: Sequence[File]) -> str:
    """What was looked for in a table that is about none of the pictures, and what is in it."""
    name = files[0].parts[-1]
    first = table.rows[0][1] if table.rows else []
    cells = zip(table.header, first, strict=False)
    has = ", ".join(f"{one_line(column, 40)} (as {one_line(cell, 40)!r})" for column, cell in list(cells)[:5])
    return (
        f"none of its columns names these pictures: looked for {one_line(name, 80)} and {_stem(name)!r}, it has {has}"
    )


def known_names(files: Sequence[File]) -> set[str]:
    """The bare names of the pictures, with and without their endings, in lower case: for a first look at a table."""
    names = {unicodedata.normalize("NFC", file.parts[-1]).casefold() for file in files}
    return names | set(map(_stem, names))


def rows_about(rows: Sequence[tuple[int, list[str]]], names: set[str]) -> Counter[int]:
    """How many rows have one of these names, by column."""
    counts: Counter[int] = Counter()
    for _, cells in rows:
        for column, cell in enumerate(cells):
            name = _path(cell).rpartition("/")[2].casefold()
            counts[column] += name in names or _id(name) in names
    return counts


def _likely(table: Table, files: Sequence[File]) -> list[int]:
    """The columns, first those of which the most first rows seem to be about these pictures."""
    counts = rows_about(table.rows[:LOOKED_AT], known_names(files))
    return sorted(range(len(table.header)), key=lambda column: -counts[column])


# --- one column --------------------------------------------------------------------------------------------------


class _Names:
    """The names of the pictures: the whole path, that below the common folders, the bare name."""

    def __init__(self, files: Sequence[File], base: tuple[str, ...]) -> None:
        parts = [tuple(unicodedata.normalize("NFC", part) for part in file.parts) for file in files]
        self.keys = [("/".join(each), "/".join(each[len(base) :]), each[-1]) for each in parts]

    def changed(self, change: Callable[[str], str]) -> tuple[list[tuple[str, ...]], Counter[str], Counter[str]]:
        """The names after a change, and how many pictures have each one below the common folders, each bare one."""
        keys = [tuple(map(change, each)) for each in self.keys]
        return keys, Counter(each[1] for each in keys), Counter(each[2] for each in keys)


def _stem(name: str) -> str:
    """Without the ending, whatever it is: of a picture's own name."""
    return os.path.splitext(name)[0]


def _id(name: str) -> str:
    """Without the ending of a picture, if it has one: of a name in a table."""
    return _stem(name) if name.lower().endswith(ENDINGS) else name


def _number(name: str) -> str:
    """Without the zeros in front of a number, which spreadsheets take off."""
    folders, slash, last = name.rpartition("/")
    return f"{folders}{slash}{last.lstrip('0') or '0'}" if last.isdecimal() else name


# How names are compared, one after the other: what is done to a picture's name, to a table's, and how that is told.
COMPARISONS: tuple[tuple[Callable[[str], str], Callable[[str], str], str], ...] = (
    (lambda name: name, lambda name: name, ""),
    (str.casefold, str.casefold, "in another case"),
    (_stem, _id, "without their endings"),
    (lambda name: _stem(name).casefold(), lambda name: _id(name).casefold(), "without ending, in another case"),
    (lambda name: _number(_stem(name)), lambda name: _number(_id(name)), "without ending and zeros in front"),
)


class _Index(NamedTuple):
    """Rows by the names that they may mean, names that a later row has again, those that lost their folders."""

    rows: dict[str, int]
    twice: dict[str, int]
    shortened: frozenset[str]


def _by_column(table: Table, column: int, names: _Names, below: str | None) -> Match:
    found: list[int | None] = [None] * len(names.keys)
    told: Counter[str] = Counter()
    problem = ""
    texts = [_path(cells[column]) for _, cells in table.rows]
    for of_file, of_row, how in COMPARISONS:
        if None not in found:
            break
        index = _index(texts, of_row, below)
        keys, full, bare = names.changed(of_file)
        for place in [place for place, row in enumerate(found) if row is None]:
            key = next((key for key in keys[place] if key in index.rows), None)
            if key is None:
                continue
            alike = full[keys[place][1]] if key in keys[place][:2] else bare[key]
            if alike > 1:
                wrong = f"{alike} pictures are called {key}, write their folders, too"
            elif key in index.twice:
                wrong = f"line {table.rows[index.twice[key]][0]} is about {one_line(key, 80)} again"
            else:
                found[place], wrong = index.rows[key], ""
                told[
                    "; ".join(filter(None, (how, "without the folders before" if key in index.shortened else "")))
                ] += 1
            problem = problem or ("" if how else wrong)
    said = tuple(f"{count:,} found by their names {way}" for way, count in told.items() if way)
    return _without_header(table, Match(column, table.header, table.rows, found, said, problem), names)


def _without_header(table: Table, match: Match, names: _Names) -> Match:
    """The match with line 1 as a row, if it is about a picture that no other row is about."""
    first = _path(table.header[match.column])
    if match.pictures == len(match.found) or not first:
        return match
    for of_file, of_row, _ in COMPARISONS:
        keys, _, bare = names.changed(of_file)
        for place, own in enumerate(keys):
            if match.found[place] is None and of_row(first) in own and bare[own[2]] == 1:
                header = tuple(f"column {number}" for number in range(1, len(table.header) + 1))
                rows = [*match.rows, (1, list(table.header))]
                found = [*match.found]
                found[place] = len(rows) - 1
                said = (f"line 1 is about {one_line(first, 80)}, so it was taken for no header", *match.said)
                return match._replace(header=header, rows=rows, found=found, said=said)
    return match


def _path(cell: str) -> str:
    return unicodedata.normalize("NFC", cell).replace("\\", "/").removeprefix("./")


def _index(texts: Sequence[str], change: Callable[[str], str], below: str | None) -> _Index:
    known: dict[str, int] = {}
    twice: dict[str, int] = {}
    for row, text in enumerate(texts):
        key = change(text)
        if key and known.setdefault(key, row) != row:
            twice.setdefault(key, row)
    shorter: dict[str, int | None] = {}
    common = _common(texts)
    for row, text in enumerate(texts):
        for name in _shortened(text, common, below):
            key = change(name)
            if key not in known and shorter.setdefault(key, row) != row:
                shorter[key] = None  # of several rows
    kept = {key: row for key, row in shorter.items() if row is not None}
    return _Index(known | kept, twice, frozenset(kept))


def _common(texts: Sequence[str]) -> int:
    """How many folders all names in the table begin with."""
    folders = [text.split("/")[:-1] for text in texts if text]
    if not folders:
        return 0
    first, last = min(folders), max(folders)  # what these two share, all share
    differing = (place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    return next(differing, min(len(first), len(last)))


def _shortened(text: str, common: int, below: str | None) -> Iterator[str]:
    """The name without its first folders: those that all begin with, of an absolute path any."""
    parts = text.split("/")
    for start in range(1, len(parts) if ABSOLUTE.match(text) else common + 1):
        if below in (None, parts[start - 1]):
            yield "/".join(parts[start:])
