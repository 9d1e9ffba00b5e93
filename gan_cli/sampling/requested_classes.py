"""Finds the classes that the argument `labels` of `gan_cli.api.sample` requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gan_cli.data.labels import (
    RequestedCondition,
    all_classes_requested,
    distribute_evenly,
    parse_label_indices,
    parse_labels,
)
from gan_cli.errors import UsageError, count_noun, one_line

Labels = str | int | Sequence[str | int | RequestedCondition] | None


def requested_classes(classes: Sequence[str], labels: Labels, count: int) -> list[RequestedCondition]:
    """Returns one requested class for each of `count` samples; an empty list if the generator has no classes.

    `gan_cli.api.sample` describes `labels`. Raises UsageError if a label is not one of `classes`.
    """
    if labels is None:
        return distribute_evenly(all_classes_requested(classes), count)
    if not classes:
        raise UsageError(
            f"labels={one_line(labels, 40)}: this generator is unconditional and takes no class, leave them out"
        )
    labels = labels.tolist() if hasattr(labels, "tolist") else labels  # NumPy or PyTorch, a number or an array
    if isinstance(labels, str | int) and not isinstance(labels, bool):
        return distribute_evenly(_classes_of(classes, labels), count)
    if not isinstance(labels, Sequence):
        raise UsageError(f"labels={one_line(repr(labels), 40)}: expected a class, its number, or a list with one each")
    if len(labels) != count:
        raise UsageError(f"labels: {len(labels)} for {count_noun(count, 'seed')}, give one for each")
    known: dict[str | int, RequestedCondition] = {}
    return [label if isinstance(label, RequestedCondition) else _class_of(classes, label, known) for label in labels]


def _class_of(classes: Sequence[str], label: Any, known: dict[str | int, RequestedCondition]) -> RequestedCondition:
    """Returns the class that one label stands for. `known` is a cache of labels and their classes."""
    label = label.tolist() if hasattr(label, "tolist") else label
    if isinstance(label, bool) or not isinstance(label, str | int):
        raise UsageError(f"labels: {one_line(repr(label), 40)} is no class and no whole number")
    if label not in known:
        rows = _classes_of(classes, label)
        if len(rows) > 1:
            raise UsageError(f"labels: {one_line(label, 60)} names {len(rows)} classes, give one for each seed")
        known[label] = rows[0]
    return known[label]


def _classes_of(classes: Sequence[str], label: str | int) -> list[RequestedCondition]:
    """Returns the classes that a name, several names joined by commas, or a number stands for."""
    return parse_labels(classes, label) if isinstance(label, str) else parse_label_indices(classes, [label])
