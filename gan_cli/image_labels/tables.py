"""Parses tables of labels into rows of text. Reads CSV, JSON, JSON lines and StyleGAN's dataset.json."""

from __future__ import annotations

import codecs
import contextlib
import csv
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from gan_cli.errors import UsageError, one_line

DELIMITERS = ",;\t|"
NOT_TEXT = re.compile("[\x00-\x08]")
FOREIGN = {b"PK\x03\x04": "an Excel file or a zip", b"PAR1": "a Parquet file", b"\x89HDF": "an HDF5 file"}
EXPECTED = "expected a header such as file,colour,size, then a row for each image"
EXPECTED_JSON = 'expected {"labels": [[file, label], ...]} or a list of {"file_name": ..., "label": ...}'


class Table(NamedTuple):
    """A table. Each row holds a line number and one cell for each column in `header`."""

    shown: str  # the name of the table in messages
    header: tuple[str, ...]
    rows: list[tuple[int, list[str]]]
    remarks: tuple[str, ...] = ()  # lines about columns that were left out
    unlabelled: str = ""  # why there are no rows, such as `its labels are null`


def parse_table(content: bytes, shown: str) -> Table:
    """Returns the table in a file. Raises UsageError if it is none, or if its rows are not as long as its header."""
    for magic, kind in FOREIGN.items():
        if content.startswith(magic):
            raise UsageError(f"{shown}: is {kind}, save it as CSV")
    text, encoding = _decoded(content)
    if encoding:
        shown = f"{shown} (read as {encoding}, not UTF-8)"
    if NOT_TEXT.search(text):
        raise UsageError(f"{shown}: is no table in UTF-8 text")
    start = text.lstrip()[:1]
    return _json(text, shown) if start in ("{", "[") else _csv(text, shown)


def _decoded(content: bytes) -> tuple[str, str]:
    """Returns the text and the name of its encoding, which is empty for UTF-8. Excel writes UTF-16 and Windows-1252."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace"), "UTF-16"
    zeros = [byte == 0 for byte in content[:4]]
    if zeros in ([False, True, False, True], [True, False, True, False]):
        return content.decode("utf-16-le" if zeros[1] else "utf-16-be", errors="replace"), "UTF-16"
    for codec, encoding in (("utf-8-sig", ""), ("cp1252", "Windows-1252")):
        with contextlib.suppress(UnicodeDecodeError):
            return content.decode(codec), encoding
    return content.decode("latin-1"), "Latin-1"


def _csv(text: str, shown: str) -> Table:
    lines = text.splitlines()
    named = re.fullmatch(r"sep=(.)", lines[0]) if lines else None  # a first line of Excel that names the delimiter
    first = 1 if named else 0
    header = "".join(lines[first : first + 1])
    delimiter = named[1] if named else max(DELIMITERS, key=header.count)
    if delimiter not in header and len(header.split()) > 1:
        delimiter = " "
    try:
        reader = csv.reader(lines[first:], delimiter=delimiter, skipinitialspace=delimiter == " ")
        numbered = [(first + reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except csv.Error as error:
        raise UsageError(f"{shown}: is no table in UTF-8 ({one_line(error)})") from None
    names = _without_empty_end(numbered[0][1]) if numbered else []
    if len(names) < 2:
        raise UsageError(f"{shown}: {EXPECTED}")
    rows = []
    for number, cells in numbered[1:]:
        if len(cells) < len(names) or any(cells[len(names) :]):
            raise UsageError(f"{shown}: line {number} has {len(cells)} cells, its header {len(names)}")
        rows.append((number, cells[: len(names)]))
    return Table(shown, tuple(names), rows)


def _without_empty_end(cells: Sequence[str]) -> list[str]:
    return list(cells[: max((count for count, cell in enumerate(cells, start=1) if cell), default=0)])


def _json(text: str, shown: str) -> Table:
    try:
        found = json.loads(text)
    except RecursionError:
        raise UsageError(f"{shown}: is no table, {EXPECTED_JSON}") from None
    except ValueError:
        return _of_objects(_json_lines(text, shown), shown)
    if isinstance(found, dict) and "labels" in found:
        return _stylegan(found["labels"], shown)
    if isinstance(found, dict) and found and all(map(_is_scalar, found.values())) and "file_name" not in found:
        return _of_pairs(found.items(), shown)
    return _of_objects(found if isinstance(found, list) else [found], shown)


def _json_lines(text: str, shown: str) -> list[Any]:
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            found += [json.loads(line)] if line.strip() else []
        except (ValueError, RecursionError):
            raise UsageError(f"{shown}: line {number} is no JSON, {EXPECTED_JSON}") from None
    return found


def _stylegan(labels: Any, shown: str) -> Table:
    """Returns the table of the `labels` of StyleGAN's dataset.json: null, or a label for each file."""
    if labels is None:
        return Table(shown, ("file", "label"), [], unlabelled="its labels are null")
    pairs = list(labels.items()) if isinstance(labels, dict) else labels
    if not isinstance(pairs, list) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise UsageError(f"{shown}: is no table, {EXPECTED_JSON}")
    for _, value in pairs:
        if isinstance(value, list):
            reason = f"its labels are {len(value):,} numbers each, no classes"
            return Table(shown, ("file", "label"), [], unlabelled=reason)
    return _of_pairs(pairs, shown)


def _of_pairs(pairs: Iterable[tuple[Any, Any]], shown: str) -> Table:
    rows = [(number, [str(name), _cell(value)]) for number, (name, value) in enumerate(pairs, start=1)]
    return Table(shown, ("file", "label"), rows)


def _of_objects(objects: Sequence[Any], shown: str) -> Table:
    if not objects or not all(isinstance(each, dict) for each in objects):
        raise UsageError(f"{shown}: is no table, {EXPECTED_JSON}")
    names = dict.fromkeys(name for each in objects for name in each)
    compound = [name for name in names if not all(_is_scalar(each.get(name)) for each in objects)]
    plain = [name for name in names if name not in compound]
    if len(plain) < 2:
        raise UsageError(f"{shown}: {EXPECTED_JSON}")
    rows = [(number, [_cell(each.get(name)) for name in plain]) for number, each in enumerate(objects, start=1)]
    remarks = tuple(f"{one_line(name, 60)} left out, as it holds lists" for name in compound)
    return Table(shown, tuple(plain), rows, remarks)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _cell(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value).strip()
