"""What a figure was measured on: only figures of the same data, size, features and number are compared. Needs no torch.

A run leaves it in its record as `measured_on`, by kind of figure. Of a run from before, what its config says of it
stands in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

MEASURED_ON = "measured_on"  # in a run's record and a job's outcome
MEASURED_FROM = (
    "measured_from"  # in a run's record: the first step whose figures are so measured, if a resume changed it
)
NOT_MEASURED_ON = ("flip", "cache", "on_bad", "download", "root", "fallback", "balance")  # of a data set's keys
# More of them, by kind: what samples are compared with has no limit, and modes are where they are.
UNRELATED = {"samples": ("limit",), "classes": (), "modes": ("limit", "size")}
CALLED = {
    "data": "data", "shape": "size or channels", "classes": "number of classes", "extractor": "features",
    "features": "features", "n": "number of samples", "reals": "real samples", "n_real": "number of real samples",
}  # fmt: skip
DIGESTS = ("data", "features")  # whose values are no words
MOST_SHOWN = 4  # values


def kind_of(figure: str) -> str:
    """Which part of `measured_on` a figure has."""
    if figure.startswith("modes/"):
        return "modes"
    return "classes" if figure.startswith("accuracy/") else "samples"


def basis_of(measured_on: Any, figure: str) -> dict[str, Any] | None:
    """What this figure of a run was measured on; None if that was not kept."""
    found = measured_on.get(kind_of(figure)) if isinstance(measured_on, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else None


def changes_basis(key: str, figure: str) -> bool:
    """Whether figures of runs that differ in this key of their configs are measured on something else."""
    head, _, leaf = key.partition(".")
    if kind_of(figure) == "samples" and key in ("evaluation.extractor", "evaluation.n"):
        return True
    if head == "image_size":
        return True
    return head == "dataset" and leaf not in (*NOT_MEASURED_ON, *UNRELATED[kind_of(figure)])


def basis_by_config(config: Mapping[str, Any], figure: str) -> dict[str, Any]:
    """The same, as far as the dotted keys of a config tell it."""
    return {key: value for key, value in config.items() if changes_basis(key, figure)}


def differences(bases: Sequence[Mapping[str, Any]]) -> list[str]:
    """In what they differ, a few words each; none if all are the same."""
    found: dict[str, list[str]] = {}
    for key in dict.fromkeys(key for basis in bases for key in basis):
        values = list(dict.fromkeys(_text(basis.get(key)) for basis in bases))
        if len(values) > 1:
            found[key] = values
    if found.keys() & {"shape", "classes"}:
        found.pop("data", None)  # which differ in any case
    if len(found) > 1:
        found.pop("features", None)  # other data have another classifier
    return [_difference(key, values) for key, values in found.items()]


def _difference(key: str, values: Sequence[str]) -> str:
    if key in DIGESTS:
        return CALLED[key]
    more = ", ..." if len(values) > MOST_SHOWN else ""
    return f"{CALLED.get(key, key)} ({', '.join(values[:MOST_SHOWN])}{more})"


def _text(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(each, int) for each in value):
        return " x ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def not_comparable(figures: Sequence[str], told: Sequence[str]) -> str:
    """Why runs cannot be ranked by these figures, in one line; nothing if `differences` told none."""
    verb = "is" if len(figures) == 1 else "are"
    return f"{', '.join(figures)} {verb} not measured on the same: they differ in {', '.join(told)}" if told else ""
