"""Precision, recall, density and coverage of a set and of its halves: against brute force and known sets."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan_cli.evaluation.metrics import nearest_neighbours
from gan_cli.evaluation.metrics.distances import precision_recall
from gan_cli.evaluation.metrics.nearest_neighbours import (
    DENSITY_NEIGHBOURS,
    PRECISION_NEIGHBOURS,
    NeighbourMetrics,
    neighbour_metrics,
    neighbour_radii,
)
from gan_cli.evaluation.metrics.resampling import half_masks


def shares(real: Tensor, fake: Tensor, chosen: Tensor | None = None) -> NeighbourMetrics:
    return neighbour_metrics(real, neighbour_radii(real), fake, half_masks(len(fake), 0) if chosen is None else chosen)


def by_force(real: Tensor, fake: Tensor) -> tuple[float, float, float, float]:
    """The definitions, one pair at a time."""

    def radius(members: Tensor, number: int) -> list[Tensor]:
        return [(members - member).norm(dim=1).sort().values[number] for member in members]

    near_real, near_fake, around = (
        radius(real, PRECISION_NEIGHBOURS),
        radius(fake, PRECISION_NEIGHBOURS),
        radius(real, DENSITY_NEIGHBOURS),
    )
    precise = sum(any((one - r).norm() <= at for r, at in zip(real, near_real, strict=True)) for one in fake)
    recalled = sum(any((one - f).norm() <= at for f, at in zip(fake, near_fake, strict=True)) for one in real)
    dense = sum(int((one - r).norm() < at) for one in fake for r, at in zip(real, around, strict=True))
    covered = sum(any((one - r).norm() < at for one in fake) for r, at in zip(real, around, strict=True))
    return precise / len(fake), recalled / len(real), dense / len(fake) / DENSITY_NEIGHBOURS, covered / len(real)


def test_agrees_with_brute_force_of_all_and_of_each_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest_neighbours, "ROWS_AT_ONCE", 7)
    real, fake = torch.randn(30, 3), torch.randn(26, 3) * 1.3 + 0.3
    chosen = half_masks(26, 3)
    found = shares(real, fake, chosen)
    for number, row in enumerate(chosen):
        assert [share[number].item() for share in found] == pytest.approx(by_force(real, fake[row]), abs=1e-5)


def test_agrees_with_the_precision_and_recall_of_pairs() -> None:
    real, fake = torch.randn(200, 8), torch.randn(150, 8) * 0.8
    found = shares(real, fake)
    assert (found.precision.item(), found.recall.item()) == pytest.approx(precision_recall(real, fake))


def test_of_equal_distributions_density_is_1_and_coverage_near_its_known_mean() -> None:
    """2002.09797: on average 1 - (N - 1)...(N - k) / ((M + N - 1)...(M + N - k)), near 1 - 2^-k."""
    real, fake = torch.randn(1500, 4), torch.randn(1500, 4)
    found = shares(real, fake)
    assert found.density.item() == pytest.approx(1, abs=0.05)
    assert found.coverage.item() == pytest.approx(1 - 2**-DENSITY_NEIGHBOURS, abs=0.02)


def test_one_repeated_sample_is_dense_and_covers_nothing() -> None:
    real = torch.randn(300, 4)
    found = shares(real, real[:1].repeat(100, 1))
    assert found.coverage.item() <= 0.05
    assert found.recall.item() == pytest.approx(1 / 300)
    assert shares(real, real + 100) == (0, 0, 0, 0)


def test_an_outlier_among_the_reals_misleads_recall_s_kin_but_not_density() -> None:
    """What density is for: one far real sample has a neighbourhood that holds all fakes."""
    real = torch.cat([torch.randn(300, 2), torch.tensor([[50.0, 0.0]])])
    fake = torch.randn(300, 2) * 0.1 + torch.tensor([25.0, 0.0])
    found = shares(real, fake)
    assert found.precision.item() == 1
    assert found.density.item() < 0.3


@pytest.mark.parametrize(("reals", "fakes"), [(5, 20), (20, 3)])
def test_too_few_samples_are_refused(reals: int, fakes: int) -> None:
    with pytest.raises(ValueError, match="neighbours other than itself"):
        shares(torch.randn(reals, 3), torch.randn(fakes, 3))
