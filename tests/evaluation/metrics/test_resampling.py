"""Intervals by halves: what a half is, and that 95 % of intervals hold what they should."""

from __future__ import annotations

import pytest
import torch

from gan_cli.evaluation.metrics.distances import fit_gaussian, frechet_distances
from gan_cli.evaluation.metrics.resampling import confidence_interval, half_masks, wilson_interval


def test_halves_are_halves_without_repeats_and_always_the_same() -> None:
    chosen = half_masks(11, 30)
    assert chosen.shape == (31, 11)
    assert chosen[0].all()
    assert (chosen[1:].sum(1) == 5).all()
    assert len({tuple(row.tolist()) for row in chosen[1:]}) > 20
    assert torch.equal(chosen, half_masks(11, 30))


def test_an_interval_is_about_the_value_and_within_what_can_be() -> None:
    values = torch.tensor([0.9, 0.5, 0.7, 0.6, 0.6])  # halves score less, which is no part of the interval
    spread = 1.96 * values[1:].double().std().item()
    assert confidence_interval(values) == pytest.approx((0.9 - spread, 0.9 + spread))
    assert confidence_interval(values, 0, 1) == pytest.approx((0.9 - spread, 1))
    assert confidence_interval(values[:2]) is None
    assert confidence_interval(values[:1]) is None


def test_the_interval_of_a_share_by_known_values() -> None:
    """Wilson's, as in tables: 0 of 10, 5 of 10, 10 of 10."""
    assert wilson_interval(0.0, 10) == pytest.approx((0, 0.2775), abs=1e-3)
    assert wilson_interval(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-3)
    assert wilson_interval(1.0, 10) == pytest.approx((0.7225, 1), abs=1e-3)


def test_95_of_100_intervals_of_a_mean_hold_the_mean() -> None:
    held = 0
    for seed in range(300):
        drawn = torch.randn(60, generator=torch.Generator().manual_seed(seed))
        chosen = half_masks(60, 100)
        low, high = confidence_interval(chosen.float() @ drawn / chosen.sum(1)) or (0.0, 0.0)
        held += low <= 0 <= high
    assert 0.91 <= held / 300 <= 0.98


def test_95_of_100_intervals_of_a_frechet_distance_hold_what_it_is_on_average() -> None:
    """Of samples of this size: the distance's own bias is in the value and in the floor alike."""
    random = torch.Generator().manual_seed(0)
    real = fit_gaussian(torch.randn(2000, 4, generator=random))
    drawn = [torch.randn(150, 4, generator=random) * 1.5 + 0.3 for _ in range(120)]
    found = [frechet_distances(real, fakes, half_masks(150, 60)) for fakes in drawn]
    usual = torch.stack([values[0] for values in found]).mean().item()
    intervals = [confidence_interval(values, 0) or (0.0, 0.0) for values in found]
    assert 0.88 <= sum(low <= usual <= high for low, high in intervals) / 120 <= 0.99
