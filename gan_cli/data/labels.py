"""Converts labels, or the classes that a user requests by `label=`, to the labels `[N, K]` of a condition.

They have one column for each class. A column is 1 if its class applies, else 0. With several attributes, a class
is one value of an attribute, such as `colour=red`. One column of each attribute is 1; if the value is unknown, none is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gan_cli.errors import UsageError, did_you_mean, first_few, one_line, suggestion
from gan_cli.image_labels.shown_classes import shown_columns
from gan_cli.randomness import generator_for

MOST_ROWS = 10_000
MOST_NAMED = 20  # classes or attributes in a message
ROUNDING = 1e-3  # the most by which rounded frequencies of one attribute differ from a sum of 1


class Attribute(NamedTuple):
    """An attribute and its `size` columns of labels, from `first` on. Plain classes form one without a name."""

    name: str
    first: int
    size: int

    @property
    def columns(self) -> slice:
        return slice(self.first, self.first + self.size)

    def has(self, column: int) -> bool:
        return self.first <= column < self.first + self.size


class RequestedCondition(NamedTuple):
    """A condition that the user requests: its text, and the columns that are 1, at most one for each attribute."""

    name: str
    columns: tuple[int, ...]


def attributes_of(classes: Sequence[str]) -> list[Attribute]:
    """Returns the attributes in their order, found from class names such as `cat` or `colour=red`."""
    attributes, first = [], 0
    for name, group in itertools.groupby(known.rpartition("=")[0] for known in classes):
        count = len(list(group))
        attributes.append(Attribute(name, first, count))
        first += count
    return attributes


def encode_labels(labels: Tensor, size: int) -> Tensor:
    """Encodes labels int64 `[N]` or `[N, attributes]` as float32 `[N, size]`: 1 in their columns, none for -1."""
    columns = labels.view(len(labels), -1)
    condition = torch.zeros(len(columns), size + 1, device=labels.device)
    condition.scatter_(1, columns.masked_fill(columns < 0, size), 1.0)
    return condition[:, :size]


def class_frequencies(labels: Tensor, size: int) -> tuple[float, ...]:
    """Returns the share of the samples that have each of `size` classes. `labels` are as for `encode_labels`."""
    counts = labels[labels >= 0].bincount(minlength=size)
    return tuple(round(count / len(labels), 6) for count in counts.tolist())


def encode_requested(
    classes: Sequence[str],
    rows: Sequence[RequestedCondition],
    seeds: Sequence[int],
    frequencies: Sequence[float] | None = None,
) -> Tensor:
    """Returns the labels of `rows`, float32 `[N, K]`. The seed of a row draws what it does not request.

    Values of an attribute are equally likely, or have these frequencies, one for each class. If those of an attribute
    do not add up to 1, the rest is the probability that none of its values is set.
    """
    attributes = attributes_of(classes)
    labels = torch.empty(len(rows), len(attributes), dtype=torch.int64)
    for index, (row, seed) in enumerate(zip(rows, seeds, strict=True)):
        for position, attribute in enumerate(attributes):
            random = generator_for(seed, f"attribute/{attribute.name}")
            drawn = _drawn_column(attribute, random, frequencies)
            labels[index, position] = next(filter(attribute.has, row.columns), drawn)
    return encode_labels(labels, len(classes))


def _drawn_column(attribute: Attribute, random: torch.Generator, frequencies: Sequence[float] | None) -> int:
    """Returns the column of a random value of the attribute, or -1 for none."""
    if frequencies is None:
        return attribute.first + int(torch.randint(attribute.size, (), generator=random))
    shares = torch.tensor(frequencies[attribute.columns], dtype=torch.float64)
    total = shares.sum().item()
    bounds = shares.cumsum(0) / (total if total > 1 - ROUNDING else 1)
    value = int(torch.searchsorted(bounds, torch.rand((), generator=random, dtype=torch.float64), right=True))
    if value < attribute.size:
        return attribute.first + value
    return attribute.first + int(shares.argmax()) if total > 1 - ROUNDING else -1


def all_classes_requested(classes: Sequence[str], most: int | None = None) -> list[RequestedCondition]:
    """Returns one requested condition for each class, or for `most` of them as `shown_columns` chooses them."""
    return [RequestedCondition(classes[column], (column,)) for column in shown_columns(classes, most)]


def distribute_evenly(rows: Sequence[RequestedCondition], count: int) -> list[RequestedCondition]:
    """Returns `count` rows, among which each row of `rows`, if any, occurs about equally often, one after the other."""
    return [rows[index * len(rows) // count] for index in range(count)] if rows else []


def evenly(
    classes: Sequence[str],
    seeds: Sequence[int],
    most: int | None = None,
    frequencies: Sequence[float] | None = None,
) -> Tensor | None:
    """Returns labels float32 `[len(seeds), K]` of all classes, or of `most` of them, evenly; None without any.

    Other attributes are drawn as in `encode_requested`.
    """
    rows = all_classes_requested(classes, most)
    return encode_requested(classes, distribute_evenly(rows, len(seeds)), seeds, frequencies) if rows else None


def parse_labels(classes: Sequence[str], label: str) -> list[RequestedCondition]:
    """Returns the requested conditions of the option `label=`.

    `cat` requests one condition and `cat,dog` requests two. `red,small` requests one condition if `red` and `small` are
    values of different attributes. A name may contain commas and may be quoted. Raises UsageError if a name is no
    class, is a value of several attributes, or is repeated.
    """
    names = [label] if label in classes else _names_in(classes, label)
    return _rows(classes, [_column(classes, name) for name in names], f"label={one_line(label, 60)}")


def _names_in(classes: Sequence[str], label: str) -> list[str]:
    """Splits a text at commas into names. The longest text that is a known name, maybe quoted, is taken first."""
    known = {*classes, *(name.rpartition("=")[2] for name in classes if "=" in name)}
    most = 1 + max((name.count(",") for name in known), default=0)  # parts of a name
    parts, names, first = label.split(","), list[str](), 0
    while first < len(parts):
        counts = range(min(most, len(parts) - first), 0, -1)
        candidates = [(count, ",".join(parts[first : first + count]).strip()) for count in counts]
        matches = ((count, name) for count, text in candidates for name in (text, _unquoted(text)) if name in known)
        count, name = next(matches, (1, parts[first].strip()))
        names.append(name)
        first += count
    return names


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 2 and text[0] == text[-1] and text[0] in "'\"" else text


def parse_label_indices(classes: Sequence[str], numbers: Sequence[int]) -> list[RequestedCondition]:
    """Returns the requested conditions of `label_index=`, a list of class numbers from 0. Else raises UsageError."""
    if not numbers:
        raise UsageError("label_index=[]: name at least one class, or leave it out")
    for number in numbers:
        if not 0 <= number < len(classes):
            expected = f"expected 0 to {len(classes) - 1}, a class of this checkpoint"
            raise UsageError(f"label_index={number}: {expected}, {_some(classes)}")
    return _rows(classes, list(numbers), "label_index")


def _rows(classes: Sequence[str], columns: Sequence[int], typed: str) -> list[RequestedCondition]:
    """Returns every combination of the requested columns, with one column for each attribute that has some."""
    if len(set(columns)) < len(columns):
        raise UsageError(f"{typed}: name each class once")
    by_attribute = [list(filter(attribute.has, columns)) for attribute in attributes_of(classes)]
    requested = list(filter(None, by_attribute))
    if math.prod(map(len, requested)) > MOST_ROWS:
        raise UsageError(f"{typed}: more than {MOST_ROWS:,} combinations, name fewer values")
    rows = itertools.product(*requested)
    return [RequestedCondition(",".join(classes[column] for column in row), row) for row in rows]


def _column(classes: Sequence[str], name: str) -> int:
    """Returns the number of the class `name`, or of `colour=red` for `red`. UsageError if none or several fit."""
    if name in classes:
        return list(classes).index(name)
    alike = [index for index, known in enumerate(classes) if known.casefold() == name.casefold()]
    if len(alike) == 1:
        return alike[0]
    values = [index for index, known in enumerate(classes) if "=" in known and known.rpartition("=")[2] == name]
    if len(values) == 1:
        return values[0]
    if values:
        possible = " or ".join(classes[index] for index in values)
        raise UsageError(f"label={name}: could be {possible}, write the full name")
    similar = _nearest(name, classes)
    of_attribute = [known for known in classes if "=" in known and known.rpartition("=")[0] == name.rpartition("=")[0]]
    known = f"expected one of {first_few(of_attribute, MOST_NAMED)}" if of_attribute else _some(classes)
    raise UsageError(f"label={one_line(name, 60)}: no class of this checkpoint, {known}{similar}")


def _nearest(name: str, classes: Sequence[str]) -> str:
    """Returns a suggestion such as ` (did you mean 'x'?)`, or an empty text if no class is similar to `name`.

    For a number, this is the class whose number, or range such as `18..24`, is nearest.
    """
    number, distances = _number(name), {}
    for known in classes:
        ends = [_number(part) for part in known.rpartition("=")[2].split("..")]
        if math.isfinite(number) and len(ends) < 3 and all(map(math.isfinite, ends)):
            distances[known] = max(ends[0] - number, number - ends[-1], 0.0)
    nearest = min(distances, key=distances.__getitem__, default=None)
    return did_you_mean(name, classes) if nearest is None else suggestion(nearest)


def _number(text: str) -> float:
    """Returns the number in `text`, with a decimal point or comma, or NaN for other text."""
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return math.nan


def _some(classes: Sequence[str]) -> str:
    attributes = [attribute.name for attribute in attributes_of(classes)]
    if len(attributes) > 1 and len(classes) > MOST_NAMED:
        return f"which has the attributes {first_few(attributes, MOST_NAMED)}, as {classes[0]}"
    return f"which has {first_few(classes, MOST_NAMED)}"
