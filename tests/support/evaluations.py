"""The JSON files that `gan-eval` writes."""

from __future__ import annotations

from typing import Any


def metric_names(evaluation: dict[str, Any]) -> list[str]:
    """Returns the names of the metrics in an evaluation file, in its order."""
    return [metric["name"] for metric in evaluation["figures"]]
