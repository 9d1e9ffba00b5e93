"""Finds out whether the metrics of several runs can be compared. Imports no torch.

The basis of a metric is what it was measured on: the data, the size, the features and the number of samples. Only
values with the same basis are compared. A run records the basis of each kind of metric under `measured_on`. Older runs
have no such record; for them the config is compared instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gan_cli.errors import first_few, one_line

BASIS_KEY = "measured_on"  # in a run's record and a job's outcome
# In a run's record, if a resume changed the basis: the first step whose metrics were measured on the new basis.
BASIS_FROM_STEP_KEY = "measured_from"
# Keys of a data set that do not change what metrics are measured on.
UNRELATED_KEYS = ("flip", "cache", "on_bad", "download", "root", "fallback", "balance")
# Further keys of a data set that do not change the basis, for each kind of metric.
UNRELATED_BY_KIND = {"samples": ("limit",), "classes": (), "modes": ("limit", "size")}
METRIC_KINDS = tuple(UNRELATED_BY_KIND)  # the keys of `measured_on`
# What messages call each part of a basis.
LABELS = {
    "data": "data", "shape": "size or channels", "classes": "number of classes", "extractor": "features",
    "features": "features", "n": "number of samples", "reals": "real samples", "n_real": "number of real samples",
    "inputs": "inputs of the task",
}  # fmt: skip
DIGESTS = ("data", "features", "inputs")  # parts whose values are hashes, which messages leave out
MAX_SHOWN = 4  # values of one part of a basis in a message


def metric_kind(metric: str) -> str:
    """Returns the kind of a metric, one of METRIC_KINDS."""
    if metric.startswith("modes/"):
        return "modes"
    return "classes" if metric.startswith("accuracy/") else "samples"


def metric_basis(measured_on: Any, metric: str) -> dict[str, Any] | None:
    """Returns what a metric was measured on, from a run's `measured_on`; None if that was not recorded."""
    found = measured_on.get(metric_kind(metric)) if isinstance(measured_on, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else None


def key_changes_basis(key: str, metric: str) -> bool:
    """Returns True if two runs with different values of the dotted `key` measure `metric` on different things."""
    (section, _, leaf), kind = key.partition("."), metric_kind(metric)
    if section == "dataset":
        return leaf not in (*UNRELATED_KEYS, *UNRELATED_BY_KIND[kind])
    return section == "image_size" or (kind == "samples" and key in ("evaluation.extractor", "evaluation.n"))


def find_bases(metric: str, runs: Sequence[tuple[Any, Mapping[str, Any], dict[str, Any]]]) -> list[dict[str, Any]]:
    """Returns the basis of a metric for each run, given as its `measured_on`, its flat config, and more parts.

    If one of the runs did not record its basis, the bases of all runs are the parts of their configs that decide it,
    and these more parts. A flat config is {dotted key: value}.
    """
    recorded = [basis for measured_on, *_ in runs if (basis := metric_basis(measured_on, metric)) is not None]
    if len(recorded) == len(runs):
        return recorded
    return [
        {key: value for key, value in config.items() if key_changes_basis(key, metric)} | more
        for _, config, more in runs
    ]


def describe_differences(bases: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns a short text for each part in which the bases differ; an empty list if all bases are equal."""
    found: dict[str, list[str]] = {}
    for key in dict.fromkeys(key for basis in bases for key in basis):
        values = list(dict.fromkeys(_text(basis.get(key)) for basis in bases))
        if len(values) > 1:
            found[key] = values
    if found.keys() & {"shape", "classes"}:
        found.pop("data", None)  # data of another shape or with other classes always differ
    if len(found) > 1:
        found.pop("features", None)  # other data imply another classifier
    return [
        LABELS[key] if key in DIGESTS else f"{LABELS.get(key) or one_line(key, 60)} ({first_few(values, MAX_SHOWN)})"
        for key, values in found.items()
    ]


def _text(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(each, int) for each in value):
        return " x ".join(map(str, value))
    return one_line(value, 100) if isinstance(value, str) else json.dumps(value, sort_keys=True)


def explain_incomparable(metrics: Sequence[str], differing: Sequence[str]) -> str:
    """Returns a line saying why runs cannot be ranked by these metrics; an empty text if no parts are `differing`."""
    if not differing:
        return ""
    verb = "is" if len(metrics) == 1 else "are"
    return f"{', '.join(metrics)} {verb} not measured on the same: they differ in {', '.join(differing)}"
