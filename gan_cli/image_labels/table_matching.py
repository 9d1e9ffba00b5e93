"""Matches the rows of a table to images, by the column that holds the names of images."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from itertools import takewhile
from typing import NamedTuple

from gan_cli.errors import UsageError, count_noun, did_you_mean, first_few, one_line
from gan_cli.image_files.formats import READ_SUFFIXES, UNREAD_IMAGE_SUFFIXES
from gan_cli.image_files.listing import ListedFile
from gan_cli.image_labels.tables import Table

ABSOLUTE = re.compile(r"/|[A-Za-z]:/|[a-z][a-z0-9]*://")
LOOKED_AT = 1000  # number of first rows that decide in which order columns are tried
ENDINGS = (*READ_SUFFIXES, *UNREAD_IMAGE_SUFFIXES)


class Match(NamedTuple):
    """A match of the rows of a table to images."""

    table: Table  # if line 1 is about an image, it is a row, and the columns are called `column 1` and so on
    column: int  # holds the names of images
    found: list[int | None]  # for each image the index of its row, or None
    remarks: tuple[str, ...]  # how names were compared if they are not equal
    problem: str = ""  # why the match cannot be used

    @property
    def image_count(self) -> int:
        """The number of images with a row."""
        return sum(row is not None for row in self.found)


def match_table(
    table: Table, files: Sequence[ListedFile], base: tuple[str, ...], column: str | None, below: str | None
) -> Match:
    """Returns the match by the column `column`. Without it, returns the match by the column that names the most images.

    Names in the table may have leading folders that the images do not have. If `below` is set, leading folders are
    ignored only up to the folder of that name.
    """
    names = _names(files, base)
    if column is not None:
        return _by_column(table, column_index(table, column, "labels_file_column"), names, below)
    counts = count_matching_rows(table.rows[:LOOKED_AT], image_names(files))
    first, *others = sorted(range(len(table.header)), key=lambda index: -counts[index])
    best = _by_column(table, first, names, below)
    for index in others:
        if best.image_count == len(files):
            break
        best = max(best, _by_column(table, index, names, below), key=lambda match: match.image_count)
    return best


def column_index(table: Table, name: str, key: str) -> int:
    """Returns the index of a column, given by its name in any case or its number from 1. Else raises UsageError."""
    if name in table.header:
        return table.header.index(name)
    folded = [column.casefold() for column in table.header]
    if name.casefold() in folded:
        return folded.index(name.casefold())
    numbered = re.fullmatch(r"(?:column )?([0-9]{1,6})", name)
    if numbered and 0 < int(numbered[1]) <= len(table.header):
        return int(numbered[1]) - 1
    some = first_few([one_line(column, 40) for column in table.header], 20)
    raise UsageError(
        f"dataset.{key}: {table.shown} has no column {name!r}, only {some}{did_you_mean(name, table.header)}"
    )


def describe_no_match(table: Table, files: Sequence[ListedFile]) -> str:
    """Says why a table names none of the images: returns a text with the names searched for and the first row."""
    name = files[0].parts[-1]
    cells = list(zip(table.header, table.rows[0][1], strict=True))[:5] if table.rows else []
    has = ", ".join(f"{one_line(column, 40)} (as {one_line(cell, 40)!r})" for column, cell in cells)
    return (
        f"{table.shown}: none of its columns names these images: searched for {one_line(name, 80)} and"
        f" {_stem(name)!r}, it has {has}"
    )


def image_names(files: Sequence[ListedFile]) -> set[str]:
    """Returns the names of the images without folders, in lower case: each with and without its suffix."""
    names = {unicodedata.normalize("NFC", file.parts[-1]).casefold() for file in files}
    return names | set(map(_stem, names))


def count_matching_rows(rows: Sequence[tuple[int, list[str]]], names: set[str]) -> Counter[int]:
    """Returns for each column the number of rows in which the cell is one of these names."""
    counts: Counter[int] = Counter()
    for _, cells in rows:
        for column, cell in enumerate(cells):
            name = _path(cell).rpartition("/")[2].casefold()
            counts[column] += name in names or _id(name) in names
    return counts


# Three names of each image: its whole path, its path below the shared folders, and its file name.
Names = Sequence[tuple[str, ...]]


def _names(files: Sequence[ListedFile], base: tuple[str, ...]) -> Names:
    parts = [tuple(unicodedata.normalize("NFC", part) for part in file.parts) for file in files]
    return [("/".join(each), "/".join(each[len(base) :]), each[-1]) for each in parts]


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _id(name: str) -> str:
    """Returns a name in a table. If the name ends in the suffix of an image format, the suffix is removed."""
    return _stem(name) if name.lower().endswith(ENDINGS) else name


def _number(name: str) -> str:
    """Removes the leading zeros of a file name that is a number, because spreadsheets remove them."""
    folders, slash, last = name.rpartition("/")
    return f"{folders}{slash}{last.lstrip('0') or '0'}" if last.isdecimal() else name


# The comparisons in order: how to normalize an image's name and a name in the table, and words for the comparison.
COMPARISONS: tuple[tuple[Callable[[str], str], Callable[[str], str], str], ...] = (
    (lambda name: name, lambda name: name, ""),
    (str.casefold, str.casefold, "ignoring case"),
    (_stem, _id, "without their endings"),
    (lambda name: _stem(name).casefold(), lambda name: _id(name).casefold(), "without ending, ignoring case"),
    (lambda name: _number(_stem(name)), lambda name: _number(_id(name)), "without ending and zeros in front"),
)


def _by_column(table: Table, column: int, names: Names, below: str | None) -> Match:
    """Matches rows to images by one column. Compares names exactly first, then less strictly in several steps."""
    found: list[int | None] = [None] * len(names)
    comparisons: Counter[str] = Counter()
    problem = ""
    texts = [_path(cells[column]) for _, cells in table.rows]
    for of_file, of_row, how in COMPARISONS:
        if None not in found:
            break
        rows, twice, shortened = _index(texts, of_row, below)
        keys = [tuple(map(of_file, each)) for each in names]
        full, bare = Counter(each[1] for each in keys), Counter(each[2] for each in keys)
        for image in [image for image, row in enumerate(found) if row is None]:
            key = next((key for key in keys[image] if key in rows), None)
            if key is None:
                continue
            same = full[keys[image][1]] if key in keys[image][:2] else bare[key]
            if same > 1:
                wrong = f"{count_noun(same, 'image')} are called {key}, write their folders, too"
            elif key in twice:
                wrong = f"line {table.rows[twice[key]][0]} is about {one_line(key, 80)} again"
            else:
                found[image], wrong = rows[key], ""
                folders = "without the folders before" if key in shortened else ""
                comparisons["; ".join(filter(None, (how, folders)))] += 1
            problem = problem or ("" if how else wrong)
    remarks = tuple(f"{count:,} found by their names {words}" for words, count in comparisons.items() if words)
    return _without_header(Match(table, column, found, remarks, problem), names)


def _without_header(match: Match, names: Names) -> Match:
    """Returns the match, with line 1 taken as a row if it names an image that no other row names."""
    table = match.table
    first = _path(table.header[match.column])
    if match.image_count == len(match.found) or not first:
        return match
    for of_file, of_row, _ in COMPARISONS:
        keys = [tuple(map(of_file, each)) for each in names]
        bare = Counter(each[2] for each in keys)
        for image, own in enumerate(keys):
            if match.found[image] is None and of_row(first) in own and bare[own[2]] == 1:
                header = tuple(f"column {number}" for number in range(1, len(table.header) + 1))
                found = [*match.found]
                found[image] = len(table.rows)
                table = table._replace(header=header, rows=[*table.rows, (1, list(table.header))])
                remarks = (f"line 1 is about {one_line(first, 80)}, so it is not taken as a header", *match.remarks)
                return match._replace(table=table, found=found, remarks=remarks)
    return match


def _path(cell: str) -> str:
    """Returns a path in a table in normal form: Unicode NFC, forward slashes, no leading `./`."""
    return unicodedata.normalize("NFC", cell).replace("\\", "/").removeprefix("./")


def _index(
    texts: Sequence[str], normalize: Callable[[str], str], below: str | None
) -> tuple[dict[str, int], dict[str, int], Set[str]]:
    """Returns the rows by their normalized names, both with and without leading folders.

    Also returns a later row for each repeated name, and the names from which leading folders were removed.
    """
    known: dict[str, int] = {}
    twice: dict[str, int] = {}
    for row, text in enumerate(texts):
        key = normalize(text)
        if key and known.setdefault(key, row) != row:
            twice.setdefault(key, row)
    shorter: dict[str, int | None] = {}
    common = _common(texts)
    for row, text in enumerate(texts):
        for name in _shortened(text, common, below):
            key = normalize(name)
            if key not in known and shorter.setdefault(key, row) != row:
                shorter[key] = None  # of several rows
    unique = {key: row for key, row in shorter.items() if row is not None}
    return known | unique, twice, unique.keys()


def _common(texts: Sequence[str]) -> int:
    """Returns the number of leading folders that all names in the table share."""
    folders = [text.split("/")[:-1] for text in texts if text]
    first, last = min(folders, default=[]), max(folders, default=[])  # folders that these two share, all names share
    return len([*takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))])


def _shortened(text: str, common: int, below: str | None) -> Iterator[str]:
    """Yields the name without leading folders: any number of an absolute path, else the `common` ones at most."""
    parts = text.split("/")
    for start in range(1, len(parts) if ABSOLUTE.match(text) else min(common + 1, len(parts))):
        if below in (None, parts[start - 1]):
            yield "/".join(parts[start:])
