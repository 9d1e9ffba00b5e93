"""Classes and attributes: from labels or a typed `label=` to the condition `[N, K]` of the networks.

A condition has a column for each class, 1 where the class applies. With several attributes a class is named
`colour=red`; one column of each attribute is 1, or none if the value is unknown.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gan_cli.errors import UsageError, count_noun, did_you_mean, first_few, one_line, suggestion
from gan_cli.randomness import generator_for

MOST_ROWS = 10_000


class Attribute(NamedTuple):
    """The columns of one attribute in a condition. Plain classes are one attribute without a name."""

    name: str
    first: int
    size: int

    @property
    def columns(self) -> slice:
        """The columns of this attribute."""
        return slice(self.first, self.first + self.size)

    def has(self, column: int) -> bool:
        """Whether the column belongs to this attribute."""
        return self.first <= column < self.first + self.size


class RequestedCondition(NamedTuple):
    """A requested condition: its name, and the columns that are 1, at most one of each attribute."""

    name: str
    columns: tuple[int, ...]


def attributes_of(classes: Sequence[str]) -> list[Attribute]:
    """Returns the attributes of `classes` (such as `cat` or `colour=red`) in their order."""
    names = [name.rpartition("=")[0] if "=" in name else "" for name in classes]
    attributes, first = [], 0
    for name, group in itertools.groupby(names):
        count = len(list(group))
        attributes.append(Attribute(name, first, count))
        first += count
    return attributes


def encode_condition(labels: Tensor, size: int) -> Tensor:
    """Encodes labels int64 `[N]` or `[N, attributes]` as float32 `[N, size]` with a 1 at each label; -1 is unknown."""
    columns = labels.view(len(labels), -1)
    condition = torch.zeros(len(columns), size + 1, device=labels.device)
    condition.scatter_(1, columns.masked_fill(columns < 0, size), 1.0)
    return condition[:, :size]


def build_conditions(classes: Sequence[str], rows: Sequence[RequestedCondition], seeds: Sequence[int]) -> Tensor:
    """Builds the conditions `[len(rows), K]` of rows. An attribute that a row leaves open is drawn from its seed."""
    attributes = attributes_of(classes)
    labels = torch.empty(len(rows), len(attributes), dtype=torch.int64)
    for index, (row, seed) in enumerate(zip(rows, seeds, strict=True)):
        for position, attribute in enumerate(attributes):
            random = generator_for(seed, f"attribute/{attribute.name}")
            drawn = attribute.first + int(torch.randint(attribute.size, (), generator=random))
            labels[index, position] = next(filter(attribute.has, row.columns), drawn)
    return encode_condition(labels, len(classes))


def all_classes_requested(classes: Sequence[str], most: int | None = None) -> list[RequestedCondition]:
    """Returns a requested condition for each class, or for the first `most`."""
    return [RequestedCondition(name, (column,)) for column, name in enumerate(classes[:most])]


def distribute_evenly(rows: Sequence[RequestedCondition], count: int) -> list[RequestedCondition]:
    """Distributes `count` samples over `rows` as evenly as possible; samples of one row are adjacent."""
    return [rows[index * len(rows) // count] for index in range(count)]


def evenly(classes: Sequence[str], seeds: Sequence[int], most: int | None = None) -> Tensor | None:
    """Builds conditions `[len(seeds), K]`, evenly distributed over the (first `most`) classes; None without classes."""
    rows = all_classes_requested(classes, most)
    return build_conditions(classes, distribute_evenly(rows, len(seeds)), seeds) if rows else None


# --- parsing -----------------------------------------------------------------------------------------------------


def parse_labels(classes: Sequence[str], label: str) -> list[RequestedCondition]:
    """Parses `label=`: `cat`, `cat,dog` (a row each), or `red,small` (one row, of two attributes).

    A name may contain commas and may be quoted. UsageError for a name that is no class, or a class of several
    attributes.
    """
    names = [label] if label in classes else _names_in(classes, label)
    return _rows(classes, [_column(classes, name) for name in names], f"label={one_line(label, 60)}")


def _names_in(classes: Sequence[str], label: str) -> list[str]:
    """Splits at commas. A comma may be part of a name: the longest known or quoted name is taken."""
    known = {*classes, *(name.rpartition("=")[2] for name in classes if "=" in name)}
    parts, names = label.split(","), []
    while parts:
        candidates = [(count, ",".join(parts[:count]).strip()) for count in range(len(parts), 0, -1)]
        matches = ((count, name) for count, text in candidates for name in (text, _unquoted(text)) if name in known)
        count, name = next(matches, (1, parts[0].strip()))
        names.append(name)
        del parts[:count]
    return names


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 2 and text[0] == text[-1] and text[0] in "'\"" else text


def parse_label_indices(classes: Sequence[str], numbers: Sequence[int]) -> list[RequestedCondition]:
    """Returns the requested conditions of `label_index=`: class numbers, counted from 0 in the order of `classes`."""
    if not numbers:
        raise UsageError("label_index=[]: name at least one class, or leave it out")
    for number in numbers:
        if not 0 <= number < len(classes):
            raise UsageError(
                f"label_index={number}: expected 0 to {len(classes) - 1}, a class of this checkpoint, {_some(classes)}"
            )
    return _rows(classes, list(numbers), "label_index")


def _rows(classes: Sequence[str], columns: Sequence[int], typed: str) -> list[RequestedCondition]:
    """Returns every combination of the requested columns, one of each attribute that has any."""
    if len(set(columns)) < len(columns):
        raise UsageError(f"{typed}: name each class once")
    by_attribute = [list(filter(attribute.has, columns)) for attribute in attributes_of(classes)]
    rows = list(itertools.product(*[requested for requested in by_attribute if requested]))
    if len(rows) > MOST_ROWS:
        raise UsageError(f"{typed}: {count_noun(len(rows), 'combination')}, at most {MOST_ROWS:,}")
    return [RequestedCondition(",".join(classes[column] for column in row), row) for row in rows]


def _column(classes: Sequence[str], name: str) -> int:
    """Returns the number of the class `name`, which may be a value such as `red` of one attribute."""
    if name in classes:
        return list(classes).index(name)
    values = [index for index, known in enumerate(classes) if "=" in known and known.rpartition("=")[2] == name]
    if len(values) == 1:
        return values[0]
    if values:
        raise UsageError(
            f"label={name}: could be {' or '.join(classes[index] for index in values)}, write the full name"
        )
    raise UsageError(
        f"label={one_line(name, 60)}: no class of this checkpoint, {_some(classes)}{_nearest(name, classes)}"
    )


def _nearest(name: str, classes: Sequence[str]) -> str:
    """Returns ` (did you mean 'x'?)`: the nearest class or range `18..24` of a number, else a similar name."""
    number, ends = _number(name), {}
    for known in classes:
        numbers = [_number(part) for part in known.rpartition("=")[2].split("..")]
        if number is not None and len(numbers) < 3 and None not in numbers:
            ends[known] = max(numbers[0] - number, number - numbers[-1], 0.0)  # type: ignore[operator]
    nearest = min(ends, key=ends.__getitem__, default=None)
    return did_you_mean(name, classes) if nearest is None else suggestion(nearest)


def _number(text: str) -> float | None:
    """Parses a finite number, with a decimal point or comma; None for other text."""
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _some(classes: Sequence[str]) -> str:
    return f"which has {first_few(classes, 20)}"
