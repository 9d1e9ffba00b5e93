"""The work that is due after a step: a checkpoint holds it, so that a resumed run can do what is left of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from gan_cli.storage.json_files import Number

MOST_VALUES = 10_000


@dataclass(frozen=True)
class Due:
    """The work that is due after `step` steps and `d_updates` updates of the discriminator.

    `evaluate` is True if an evaluation is due, `sample` is True if a grid of samples is due. `values` holds the metrics
    of a line that is due in the log; None if no line is due. `ended` is True if the run ends after this step.
    """

    step: int
    d_updates: int
    evaluate: bool
    sample: bool
    values: Mapping[str, Number] | None
    ended: bool


def parse_due(content: Any, step: int, d_updates: int) -> Due | None:
    """Returns the work that a checkpoint holds; None if there is none for this step and update of D, or it is invalid.

    `content` may be of any type, because a checkpoint may come from a stranger.
    """
    try:
        due = TypeAdapter(Due).validate_python(content)
    except (ValidationError, RecursionError):
        return None
    if (due.step, due.d_updates) != (step, d_updates):
        return None
    if (values := due.values) is not None:
        needed = {"seconds", "images_per_second"} <= values.keys()
        return due if needed and values.get("step") == step and len(values) <= MOST_VALUES else None
    return due
