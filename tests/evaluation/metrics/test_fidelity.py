"""Our figures equal torch-fidelity's, to five digits, on the same features and logits."""

from __future__ import annotations

import warnings
from types import ModuleType

import pytest
import torch
from torch import Tensor

from gan_cli.evaluation.metrics.nearest_neighbours import neighbour_metrics, neighbour_radii
from gan_cli.evaluation.metrics.resampling import half_masks
from support.evaluations import frechet_distance, inception_score, kernel_distance

DIGITS = 1e-5


def features(seed: int, count: int = 400, dimensions: int = 24) -> Tensor:
    """As a network's last layer makes them: correlated, none below 0."""
    random = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dimensions, dimensions, generator=torch.Generator().manual_seed(99))
    return (torch.randn(count, dimensions, generator=random) @ mixing + seed * 0.3).relu()


REAL, FAKE = features(1), features(2)


@pytest.fixture(scope="module")
def fidelity() -> ModuleType:
    """torch-fidelity, which takes two seconds to import."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports
        import torch_fidelity.metrics

        return torch_fidelity


def test_frechet_distance(fidelity: ModuleType) -> None:
    fid = fidelity.metric_fid
    theirs = fid.fid_statistics_to_metric(
        *map(fid.fid_features_to_statistics, (REAL.double(), FAKE.double())), verbose=False
    )
    assert frechet_distance(REAL, FAKE) == pytest.approx(theirs["frechet_inception_distance"], rel=DIGITS)


def test_kernel_distance_of_all(fidelity: ModuleType) -> None:
    theirs = fidelity.metric_kid.kid_features_to_metric(
        REAL.double(), FAKE.double(), kid_subsets=1, kid_subset_size=400, verbose=False
    )
    assert kernel_distance(REAL, FAKE) == pytest.approx(theirs["kernel_inception_distance_mean"], rel=DIGITS)


def test_kernel_distance_of_subsets(fidelity: ModuleType) -> None:
    """Theirs is the mean over random subsets: of the same ones ours has the same mean."""
    import numpy as np

    theirs = fidelity.metric_kid.kid_features_to_metric(
        REAL.double(), FAKE.double(), kid_subsets=5, kid_subset_size=100, rng_seed=7, verbose=False
    )
    random = np.random.RandomState(7)
    ours = []
    for _ in range(5):
        real, fake = (features[random.choice(400, 100, replace=False)] for features in (REAL, FAKE))
        ours.append(kernel_distance(real, fake))
    assert sum(ours) / 5 == pytest.approx(theirs["kernel_inception_distance_mean"], rel=DIGITS)


def test_inception_score(fidelity: ModuleType) -> None:
    logits = features(3, 500, 10) - 2
    theirs = fidelity.metric_isc.isc_features_to_metric(logits, splits=1, shuffle=False)
    assert inception_score(logits.softmax(1)) == pytest.approx(theirs["inception_score_mean"], rel=DIGITS)


def test_precision_and_recall(fidelity: ModuleType) -> None:
    theirs = fidelity.metric_prc.prc_features_to_metric(
        FAKE, REAL, prc_neighborhood=3, prc_batch_size=1000, save_cpu_ram=False, verbose=False
    )
    expected = (theirs["precision"], theirs["recall"])
    assert 0 < expected[0] < 1
    assert 0 < expected[1] < 1
    found = neighbour_metrics(REAL, neighbour_radii(REAL), FAKE, half_masks(400, 0))
    assert (found.precision.item(), found.recall.item()) == pytest.approx(expected, rel=DIGITS)
