"""Modes are counted as the papers count them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gan_cli.data.datasets.points import build_ring, grid_centres, ring_centres
from gan_cli.evaluation.metrics.mode_coverage import (
    ModeCount,
    ModeFloor,
    count_labels,
    count_modes,
    simulate_mode_floor,
)

RING = ring_centres(8, 2.0)


# --- points ------------------------------------------------------------------------------------------------------


def test_shares_known_by_hand() -> None:
    """4, 2 and 2 good samples at three of eight centres, and two far from any."""
    samples = torch.cat([RING[[0] * 4 + [3] * 2 + [6] * 2], torch.zeros(2, 2)])
    count = count_modes(samples, RING, std=0.02)
    assert count[:3] == (3, 8, 0.8)
    assert count.reverse_kl == pytest.approx(0.5 * math.log(4) + 2 * 0.25 * math.log(2), rel=1e-12)


def test_real_samples_of_the_ring() -> None:
    points = build_ring(size=10_000, modes=8, radius=2.0, std=0.02, split="test").samples
    count = count_modes(points, RING, std=0.02)
    assert (count.covered, count.possible) == (8, 8)
    assert count.share == pytest.approx(1 - math.exp(-4.5), abs=0.003)
    assert 0 <= count.reverse_kl < 0.002


def test_three_standard_deviations_are_too_far() -> None:
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    samples = torch.tensor([[1.5, 0.0], [0.0, -1.5], [1.4999, 0.0], [9.0, 1.0]])
    assert count_modes(samples[:2], centres, std=0.5) == ModeCount(0, 2, 0.0, math.log(2))
    assert count_modes(samples, centres, std=0.5) == ModeCount(2, 2, 0.5, 0.0)


def test_the_border_is_as_sharp_among_many_samples() -> None:
    """With more than 25 rows, cdist would by default take matrix products and round."""
    centres = grid_centres(5, 1000.0)
    offsets = torch.tensor([[0.149, 0.0], [0.151, 0.0]])
    count = count_modes((centres[:, None] + offsets).flatten(0, 1), centres, std=0.05)
    assert count == ModeCount(25, 25, 0.5, 0.0)


def test_one_sample_covers_a_mode_but_only_the_nearest() -> None:
    centres = torch.tensor([[0.0, 0.0], [1.0, 0.0]])  # 3 std reach beyond the other centre
    assert count_modes(torch.tensor([[0.4, 0.0]]), centres, std=1.0) == ModeCount(1, 2, 1.0, math.log(2))


def test_a_single_mode_is_log_k() -> None:
    count = count_modes(RING[[5] * 100], RING, std=0.02)
    assert count[:3] == (1, 8, 1.0)
    assert count.reverse_kl == pytest.approx(math.log(8))
    assert count_modes(torch.zeros(3, 2), torch.zeros(1, 2), std=1.0) == ModeCount(1, 1, 1.0, 0.0)


@pytest.mark.parametrize(
    "samples",
    [torch.zeros(5, 2), torch.full((5, 2), math.nan), torch.full((5, 2), math.inf), torch.empty(0, 2)],
    ids=["far", "nan", "inf", "none"],
)
def test_no_good_sample(samples: Tensor) -> None:
    assert count_modes(samples, RING, std=0.02) == ModeCount(0, 8, 0.0, math.log(8))


def test_samples_that_are_not_finite_count_as_bad() -> None:
    samples = torch.cat([RING, torch.tensor([[math.nan, 0.0], [math.inf, math.nan]])])
    assert count_modes(samples, RING, std=0.02) == ModeCount(8, 8, 0.8, 0.0)


def test_without_modes_there_is_nothing_to_count() -> None:
    with pytest.raises(ValueError, match="no modes"):
        count_modes(torch.zeros(5, 2), torch.empty(0, 2), std=0.02)


# --- labels and floors -------------------------------------------------------------------------------------------


def test_labels_are_counted() -> None:
    count = count_labels(torch.tensor([7, 7, 999, 0]), possible=1000)
    assert count[:3] == (3, 1000, 1.0)
    assert count.reverse_kl == pytest.approx(0.5 * math.log(500) + 0.5 * math.log(250), rel=1e-12)
    assert count_labels(torch.arange(1000).repeat(3), 1000) == pytest.approx((1000, 1000, 1.0, 0.0), abs=1e-12)
    assert count_labels(torch.empty(0, dtype=torch.int64), 10) == ModeCount(0, 10, 1.0, math.log(10))


def test_rounding_takes_no_divergence_below_zero() -> None:
    assert count_labels(torch.arange(49), 49).reverse_kl == 0


@pytest.mark.parametrize("labels", [[0, 10], [-1, 3]])
def test_labels_of_no_class_are_refused(labels: list[int]) -> None:
    with pytest.raises(ValueError, match="of 10 classes"):
        count_labels(torch.tensor(labels), 10)


@pytest.mark.parametrize(
    ("possible", "n", "reverse_kl"),
    [
        (1000, 26_000, 0.01934),
        (1000, 10_000, 0.05089),
        (1000, 1_000, 0.5730),
        (25, 2_500, 0.004808),
        (8, 2_500, 0.001401),
    ],
)
def test_floors(possible: int, n: int, reverse_kl: float) -> None:
    """Near the sum over the binomial distribution of a mode's count, and the chance of a mode to be missed."""
    floor = simulate_mode_floor(possible, n)
    assert floor.covered == pytest.approx(possible * (1 - (1 - 1 / possible) ** n), abs=2)
    assert floor.reverse_kl == pytest.approx(reverse_kl, rel=0.02 if possible == 1000 else 0.15)


def test_a_floor_is_the_same_every_time() -> None:
    torch.manual_seed(1)
    first = simulate_mode_floor(100, 500, seeds=3)
    torch.manual_seed(2)
    assert simulate_mode_floor(100, 500, seeds=3) == first
    assert isinstance(first, ModeFloor)
