"""Distances between sets of features: against closed forms, against brute force, and at their edges."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gan_cli.evaluation.metrics.distances import (
    fit_gaussian,
    frechet_distance,
    frechet_distances,
    kernel_distance,
    kernel_distances,
    precision_recall,
)
from gan_cli.evaluation.metrics.resampling import half_masks


def normal(count: int, mean: Tensor, factor: Tensor, seed: int) -> Tensor:
    """Samples whose mean and covariance, as estimated, are exactly `mean` and `factor @ factor.T`."""
    drawn = torch.randn(count, len(mean), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    drawn = drawn - drawn.mean(0)
    whitened = drawn @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(drawn.T))).T
    return whitened @ factor.T + mean


def test_of_diagonal_gaussians() -> None:
    """(mean difference)^2 and, in each direction, the squared difference of standard deviations."""
    one = normal(400, torch.zeros(3).double(), torch.diag(torch.tensor([1.0, 2.0, 3.0])).double(), 1)
    other = normal(300, torch.tensor([1.0, 0.0, -2.0]).double(), torch.diag(torch.tensor([2.0, 2.0, 1.0])).double(), 2)
    assert frechet_distance(one, other) == pytest.approx(5 + 1 + 0 + 4, rel=1e-9)


def test_of_correlated_gaussians_by_the_general_formula() -> None:
    random = torch.Generator().manual_seed(0)
    first, second = (torch.randn(5, 5, generator=random, dtype=torch.float64) for _ in range(2))
    one, other = normal(200, torch.zeros(5).double(), first, 1), normal(200, torch.ones(5).double(), second, 2)
    product = first @ first.T @ second @ second.T
    cross = torch.linalg.eigvals(product).real.clamp_min(0).sqrt().sum()
    expected = 5 + (first @ first.T).trace() + (second @ second.T).trace() - 2 * cross
    assert frechet_distance(one, other) == pytest.approx(expected.item(), rel=1e-8)


def test_is_symmetric_zero_on_itself_and_blind_to_order() -> None:
    features = torch.randn(100, 8)
    other = torch.randn(80, 8) * 2
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(features, features.flip(0)) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(features, other) == pytest.approx(frechet_distance(other, features))


def test_of_fewer_samples_than_features_is_finite() -> None:
    one, other = torch.randn(5, 50), torch.randn(6, 50)
    assert 0 < frechet_distance(one, other) < 1000
    assert frechet_distance(torch.zeros(5, 50), other) > 0


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_samples_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        frechet_distance(torch.randn(count, 4), torch.randn(9, 4))
    with pytest.raises(ValueError, match="3 neighbours"):
        precision_recall(torch.randn(3, 4), torch.randn(9, 4))


def test_of_equal_and_of_foreign_sets() -> None:
    real = torch.randn(200, 4)
    assert precision_recall(real, real.clone()) == (1.0, 1.0)
    assert precision_recall(real, real + 100) == (0.0, 0.0)


def test_one_repeated_sample_is_precise_and_recalls_nothing() -> None:
    real = torch.randn(300, 4)
    precision, recall = precision_recall(real, real[:1].repeat(50, 1))
    assert precision == 1.0
    assert recall == pytest.approx(1 / 300)


def test_half_of_the_modes_are_half_of_the_recall() -> None:
    near, far = torch.randn(200, 2), torch.randn(200, 2) + 50
    coverage = precision_recall(torch.cat([near, far]), near + 0.01)
    assert coverage.precision > 0.95
    assert coverage.recall == pytest.approx(0.5, abs=0.03)


def test_agrees_with_brute_force_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_cli.evaluation.metrics.distances.ROWS_AT_ONCE", 7)
    real, fake = torch.randn(40, 3), torch.randn(30, 3) * 1.5

    def within(samples: Tensor, members: Tensor) -> float:
        inside = 0
        for sample in samples:
            for member in members:
                radius = (members - member).norm(dim=1).sort().values[3]
                if (sample - member).norm() <= radius:
                    inside += 1
                    break
        return inside / len(samples)

    coverage = precision_recall(real, fake)
    assert coverage == (pytest.approx(within(fake, real)), pytest.approx(within(real, fake)))


# --- the kernel's distance ---------------------------------------------------------------------------------------


def test_of_the_kernel_by_hand() -> None:
    """Features of one dimension: k(x, y) = (xy + 1)^3."""
    one, other = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]])
    among, between, among_others = 1, (1 + 1 + 8 + 27) / 4, 27
    assert kernel_distance(one, other) == pytest.approx(among + among_others - 2 * between)


def test_the_kernel_s_is_symmetric_blind_to_order_and_unbiased() -> None:
    one, other = torch.randn(60, 5), torch.randn(60, 5) + 1
    assert kernel_distance(one, other) == pytest.approx(kernel_distance(other, one))
    assert kernel_distance(one, other) == pytest.approx(kernel_distance(one.flip(0), other))
    random = torch.Generator().manual_seed(0)
    equal = [kernel_distance(*torch.randn(2, 20, 3, generator=random)) for _ in range(400)]
    mean, spread = sum(equal) / 400, torch.tensor(equal).std().item() / math.sqrt(400)
    assert min(equal) < 0  # a biased estimate never is
    assert abs(mean) < 3 * spread


def test_of_halves_as_of_their_samples_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_cli.evaluation.metrics.distances.ROWS_AT_ONCE", 7)
    real, fake = torch.randn(50, 4), torch.randn(30, 4) * 2
    chosen = half_masks(30, 4)
    alone = [kernel_distance(real, fake[row]) for row in chosen]
    assert kernel_distances(real, fake, chosen).tolist() == pytest.approx(alone)
    alone = [frechet_distance(real, fake[row]) for row in chosen]
    assert frechet_distances(fit_gaussian(real), fake, chosen).tolist() == pytest.approx(alone)


def test_the_kernel_needs_two_of_each() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        kernel_distance(torch.randn(1, 3), torch.randn(9, 3))
