"""The JSON files that `gan-eval` writes, and metrics of one set of samples instead of its subsets."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gan_cli.evaluation.metrics.distances import fit_gaussian, frechet_between, kernel_distances
from gan_cli.evaluation.metrics.inception_score import inception_scores
from gan_cli.evaluation.metrics.resampling import half_masks


def metric_names(evaluation: dict[str, Any]) -> list[str]:
    """Returns the names of the metrics in an evaluation file, in its order."""
    return [metric["name"] for metric in evaluation["figures"]]


def frechet_distance(one: Tensor, other: Tensor) -> float:
    return frechet_between(fit_gaussian(one), fit_gaussian(other))


def kernel_distance(one: Tensor, other: Tensor) -> float:
    return kernel_distances(one, other, half_masks(len(other), 0)).item()


def inception_score(probabilities: Tensor) -> float:
    return inception_scores(probabilities, half_masks(len(probabilities), 0)).item()
