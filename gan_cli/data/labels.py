"""Classes and attributes: what was labelled, what is asked for, and the condition `[N, K]` that networks see.

A condition has a column for each class, 1 where it applies. Of data with several attributes a class is
`colour=red`: each attribute has one of its classes on, or none where that is not known.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gan_cli.errors import UsageError, closest, counted, few, one_line
from gan_cli.randomness import generator_for

MOST_ROWS = 10_000


class Attribute(NamedTuple):
    """The columns of a condition of which one applies; plain classes are one attribute without a name."""

    name: str
    first: int
    size: int

    @property
    def columns(self) -> slice:
        return slice(self.first, self.first + self.size)

    def has(self, column: int) -> bool:
        return self.first <= column < self.first + self.size


class Asked(NamedTuple):
    """A row of a grid: its name as typed, and the columns that are on, one of each attribute that was asked for."""

    name: str
    columns: tuple[int, ...]


def attributes_of(classes: Sequence[str]) -> list[Attribute]:
    """The attributes that `classes`, such as `cat` or `colour=red`, are values of, in their order."""
    names = [name.rpartition("=")[0] if "=" in name else "" for name in classes]
    attributes, first = [], 0
    for name, group in itertools.groupby(names):
        count = len(list(group))
        attributes.append(Attribute(name, first, count))
        first += count
    return attributes


def condition_of(labels: Tensor, size: int) -> Tensor:
    """float32 `[N, size]` with a 1 at each of `labels`, int64 `[N]` or `[N, attributes]`; -1 stands for not known."""
    columns = labels.view(len(labels), -1)
    condition = torch.zeros(len(columns), size + 1, device=labels.device)
    condition.scatter_(1, columns.masked_fill(columns < 0, size), 1.0)
    return condition[:, :size]


def conditions_for(classes: Sequence[str], rows: Sequence[Asked], seeds: Sequence[int]) -> Tensor:
    """`[len(rows), K]`: what each row asks for; an attribute that it leaves open is drawn evenly from its seed."""
    attributes = attributes_of(classes)
    labels = torch.empty(len(rows), len(attributes), dtype=torch.int64)
    for index, (row, seed) in enumerate(zip(rows, seeds, strict=True)):
        for place, attribute in enumerate(attributes):
            random = generator_for(seed, f"attribute/{attribute.name}")
            drawn = attribute.first + int(torch.randint(attribute.size, (), generator=random))
            labels[index, place] = next(filter(attribute.has, row.columns), drawn)
    return condition_of(labels, len(classes))


def every_class(classes: Sequence[str], most: int | None = None) -> list[Asked]:
    """A row for each class, or for the first `most`."""
    return [Asked(name, (column,)) for column, name in enumerate(classes[:most])]


def share_out(rows: Sequence[Asked], count: int) -> list[Asked]:
    """`count` samples, shared out among `rows` as evenly as can be, each row's together."""
    return [rows[index * len(rows) // count] for index in range(count)]


def evenly(classes: Sequence[str], seeds: Sequence[int], most: int | None = None) -> Tensor | None:
    """Conditions `[len(seeds), K]` of samples shared out among all classes, or the first `most`; None without any."""
    rows = every_class(classes, most)
    return conditions_for(classes, share_out(rows, len(seeds)), seeds) if rows else None


# --- asking ------------------------------------------------------------------------------------------------------


def asked_for(classes: Sequence[str], label: str) -> list[Asked]:
    """The rows that `label=` asks for: `cat`, `cat,dog` (a row each), `red,small` (together, of two attributes).

    A name may hold commas itself; in quotes it is taken as it stands.

    UsageError for a name that is no class, or one of several attributes.
    """
    names = [label] if label in classes else _names_in(classes, label)
    return _rows(classes, [_column(classes, name) for name in names], f"label={one_line(label, 60)}")


def _names_in(classes: Sequence[str], label: str) -> list[str]:
    """The names between commas, of which some may belong to a name: quoted, or as long a name as there is."""
    known = {*classes, *(name.rpartition("=")[2] for name in classes if "=" in name)}
    parts, names = label.split(","), []
    while parts:
        ways = [(count, ",".join(parts[:count]).strip()) for count in range(len(parts), 0, -1)]
        fitting = ((count, way) for count, text in ways for way in (text, _unquoted(text)) if way in known)
        count, name = next(fitting, (1, parts[0].strip()))
        names.append(name)
        del parts[:count]
    return names


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 2 and text[0] == text[-1] and text[0] in "'\"" else text


def asked_by_index(classes: Sequence[str], numbers: Sequence[int]) -> list[Asked]:
    """The rows that `label_index=` asks for, its numbers counted from 0 in the order of `classes`."""
    if not numbers:
        raise UsageError("label_index=[]: name at least one class, or leave it out")
    for number in numbers:
        if not 0 <= number < len(classes):
            raise UsageError(
                f"label_index={number}: expected 0 to {len(classes) - 1}, a class of this checkpoint, {_some(classes)}"
            )
    return _rows(classes, list(numbers), "label_index")


def _rows(classes: Sequence[str], columns: Sequence[int], typed: str) -> list[Asked]:
    """Every combination of what was asked of each attribute."""
    if len(set(columns)) < len(columns):
        raise UsageError(f"{typed}: name each class once")
    by_attribute = [list(filter(attribute.has, columns)) for attribute in attributes_of(classes)]
    rows = list(itertools.product(*[asked for asked in by_attribute if asked]))
    if len(rows) > MOST_ROWS:
        raise UsageError(f"{typed}: {counted(len(rows), 'combination')}, at most {MOST_ROWS:,}")
    return [Asked(",".join(classes[column] for column in row), row) for row in rows]


def _column(classes: Sequence[str], name: str) -> int:
    if name in classes:
        return list(classes).index(name)
    values = [index for index, known in enumerate(classes) if "=" in known and known.rpartition("=")[2] == name]
    if len(values) == 1:
        return values[0]
    if values:
        raise UsageError(f"label={name}: could be {' or '.join(classes[index] for index in values)}, write which")
    raise UsageError(
        f"label={one_line(name, 60)}: no class of this checkpoint, {_some(classes)}{_nearest(name, classes)}"
    )


def _nearest(name: str, classes: Sequence[str]) -> str:
    """` (did you mean 'x'?)`: of a number the nearest class, also a range `18..24`; of other names one like it."""
    number, ends = _number(name), {}
    for known in classes:
        numbers = [_number(part) for part in known.rpartition("=")[2].split("..")]
        if number is not None and len(numbers) < 3 and None not in numbers:
            ends[known] = max(numbers[0] - number, number - numbers[-1], 0.0)  # type: ignore[operator]
    nearest = min(ends, key=ends.__getitem__, default=None)
    return closest(name, classes) if nearest is None else f" (did you mean {nearest!r}?)"


def _number(text: str) -> float | None:
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _some(classes: Sequence[str]) -> str:
    return f"which has {few(classes, 20)}"
