"""Our figures equal torch-fidelity's, to five digits, on the same features and logits."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

from gan_cli.evaluation.metrics.distances import frechet_distance, kernel_distance, precision_recall
from gan_cli.evaluation.metrics.inception_score import inception_score
from gan_cli.evaluation.metrics.nearest_neighbours import neighbour_metrics, neighbour_radii
from gan_cli.evaluation.metrics.resampling import half_masks

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what torch-fidelity imports
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

DIGITS = 1e-5


def features(seed: int, count: int = 400, dimensions: int = 24) -> Tensor:
    """As a network's last layer makes them: correlated, none below 0."""
    random = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dimensions, dimensions, generator=torch.Generator().manual_seed(99))
    return (torch.randn(count, dimensions, generator=random) @ mixing + seed * 0.3).relu()


REAL, FAKE = features(1), features(2)


def test_frechet_distance() -> None:
    theirs = fid_statistics_to_metric(*map(fid_features_to_statistics, (REAL.double(), FAKE.double())), verbose=False)
    assert frechet_distance(REAL, FAKE) == pytest.approx(theirs["frechet_inception_distance"], rel=DIGITS)


def test_kernel_distance_of_all() -> None:
    theirs = kid_features_to_metric(REAL.double(), FAKE.double(), kid_subsets=1, kid_subset_size=400, verbose=False)
    assert kernel_distance(REAL, FAKE) == pytest.approx(theirs["kernel_inception_distance_mean"], rel=DIGITS)


def test_kernel_distance_of_subsets() -> None:
    """Theirs is the mean over random subsets: of the same ones ours has the same mean."""
    import numpy as np

    theirs = kid_features_to_metric(
        REAL.double(), FAKE.double(), kid_subsets=5, kid_subset_size=100, rng_seed=7, verbose=False
    )
    random = np.random.RandomState(7)
    ours = []
    for _ in range(5):
        real, fake = (features[random.choice(400, 100, replace=False)] for features in (REAL, FAKE))
        ours.append(kernel_distance(real, fake))
    assert sum(ours) / 5 == pytest.approx(theirs["kernel_inception_distance_mean"], rel=DIGITS)


def test_inception_score() -> None:
    logits = features(3, 500, 10) - 2
    theirs = isc_features_to_metric(logits, splits=1, shuffle=False)
    assert inception_score(logits.softmax(1)) == pytest.approx(theirs["inception_score_mean"], rel=DIGITS)


def test_precision_and_recall() -> None:
    theirs = prc_features_to_metric(
        FAKE, REAL, prc_neighborhood=3, prc_batch_size=1000, save_cpu_ram=False, verbose=False
    )
    expected = (theirs["precision"], theirs["recall"])
    assert 0 < expected[0] < 1
    assert 0 < expected[1] < 1
    assert precision_recall(REAL, FAKE) == pytest.approx(expected, rel=DIGITS)
    found = neighbour_metrics(REAL, neighbour_radii(REAL), FAKE, half_masks(400, 0))
    assert (found.precision.item(), found.recall.item()) == pytest.approx(expected, rel=DIGITS)
