"""The basis of a metric: the data, size, features and number of samples it was measured on. Imports no torch.

Only metrics with the same basis are compared. A run records the basis as `measured_on`, by kind of metric; for older
runs the config is used instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

BASIS_KEY = "measured_on"  # in a run's record and a job's outcome
# In a run's record: the first step whose metrics have this basis, if a resume changed the basis.
BASIS_FROM_STEP_KEY = "measured_from"
# Keys of a data set that do not change what metrics are measured on.
UNRELATED_KEYS = ("flip", "cache", "on_bad", "download", "root", "fallback", "balance")
# More of these keys, by kind of metric.
UNRELATED_BY_KIND = {"samples": ("limit",), "classes": (), "modes": ("limit", "size")}
# The words for the parts of a basis in messages.
LABELS = {
    "data": "data", "shape": "size or channels", "classes": "number of classes", "extractor": "features",
    "features": "features", "n": "number of samples", "reals": "real samples", "n_real": "number of real samples",
}  # fmt: skip
DIGESTS = ("data", "features")  # parts whose values are hashes, which messages leave out
MAX_SHOWN = 4  # values


def metric_kind(metric: str) -> str:
    """The kind of a metric, a key of `measured_on`: "samples", "classes" or "modes"."""
    if metric.startswith("modes/"):
        return "modes"
    return "classes" if metric.startswith("accuracy/") else "samples"


def metric_basis(measured_on: Any, metric: str) -> dict[str, Any] | None:
    """The basis of a metric from a run's `measured_on`, None if it was not recorded."""
    found = measured_on.get(metric_kind(metric)) if isinstance(measured_on, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else None


def key_changes_basis(key: str, metric: str) -> bool:
    """Whether a metric of two runs that differ in this dotted key has different bases."""
    head, _, leaf = key.partition(".")
    if metric_kind(metric) == "samples" and key in ("evaluation.extractor", "evaluation.n"):
        return True
    if head == "image_size":
        return True
    return head == "dataset" and leaf not in (*UNRELATED_KEYS, *UNRELATED_BY_KIND[metric_kind(metric)])


def basis_from_config(config: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """The basis of a metric as far as the dotted keys of a config determine it."""
    return {key: value for key, value in config.items() if key_changes_basis(key, metric)}


def describe_differences(bases: Sequence[Mapping[str, Any]]) -> list[str]:
    """The parts in which the bases differ, in a few words each; empty if all are equal."""
    found: dict[str, list[str]] = {}
    for key in dict.fromkeys(key for basis in bases for key in basis):
        values = list(dict.fromkeys(_text(basis.get(key)) for basis in bases))
        if len(values) > 1:
            found[key] = values
    if found.keys() & {"shape", "classes"}:
        found.pop("data", None)  # it differs in any case
    if len(found) > 1:
        found.pop("features", None)  # other data imply another classifier
    return [_difference(key, values) for key, values in found.items()]


def _difference(key: str, values: Sequence[str]) -> str:
    if key in DIGESTS:
        return LABELS[key]
    more = ", ..." if len(values) > MAX_SHOWN else ""
    return f"{LABELS.get(key, key)} ({', '.join(values[:MAX_SHOWN])}{more})"


def _text(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(each, int) for each in value):
        return " x ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def explain_incomparable(metrics: Sequence[str], differing: Sequence[str]) -> str:
    """Why runs cannot be ranked by these metrics, in one line; empty if their bases do not differ.

    `differing` is the result of `describe_differences`.
    """
    verb = "is" if len(metrics) == 1 else "are"
    return (
        f"{', '.join(metrics)} {verb} not measured on the same: they differ in {', '.join(differing)}"
        if differing
        else ""
    )
