"""Chooses the classes that have a row in a grid of samples, where there are too many for all."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

MAX_CLASSES_SHOWN = 32  # rows of a grid


def shown_columns(classes: Sequence[str], most: int | None = MAX_CLASSES_SHOWN) -> list[int]:
    """Returns the columns of the classes that are shown, in their order: all, or `most` of them if there are more.

    Of several attributes, with classes such as `hair=red`, each attribute has its first values, as many as of the
    others or one more. Plain classes are the first ones.
    """
    ranked, first = [], 0
    for number, (_, group) in enumerate(itertools.groupby(name.rpartition("=")[0] for name in classes)):
        count = len(list(group))
        ranked += [(position, number, first + position) for position in range(count)]
        first += count
    return sorted(column for _, _, column in sorted(ranked)[:most])


def describe_shown(classes: Sequence[str]) -> str:
    """Returns which classes are shown, as `32 of 152 classes, the first values of each attribute`; "" if all are."""
    if len(classes) <= MAX_CLASSES_SHOWN:
        return ""
    attributes = {name.rpartition("=")[0] for name in classes}
    which = "the first values of each attribute" if len(attributes) > 1 else "the first ones"
    return f"{MAX_CLASSES_SHOWN} of {len(classes):,} classes, {which}"
