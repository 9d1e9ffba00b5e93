"""PSNR, SSIM, L1, sharpness and distances of pairs: known values, and an independent SSIM."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn.functional import avg_pool2d

from gan_cli.evaluation.metrics import paired
from gan_cli.evaluation.metrics.resampling import half_masks

ALL = half_masks(4, 0)


def images(seed: int, count: int = 4, side: int = 20, channels: int = 3) -> Tensor:
    """Smooth random images in [-1, 1]."""
    random = torch.Generator().manual_seed(seed)
    return avg_pool2d(torch.rand(count, channels, side + 4, side + 4, generator=random) * 2 - 1, 5, stride=1)


def test_psnr_of_a_constant_difference() -> None:
    """A difference of 0.2 everywhere, of a peak of 2: 20 log10(2 / 0.2) = 20 dB."""
    truth = images(0)
    assert paired.psnr_of_each(truth + 0.2, truth).tolist() == pytest.approx([20] * 4, abs=1e-4)
    assert paired.l1_of_each(truth + 0.2, truth).tolist() == pytest.approx([0.1] * 4, abs=1e-6)
    assert paired.psnr_of_each(-torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 4)).item() == pytest.approx(0)
    assert paired.psnr_of_each(truth, truth).tolist() == [paired.MOST_DECIBELS] * 4


def test_the_mean_is_that_of_the_values_of_each_image() -> None:
    """20 dB and 40 dB are 30 dB, not the 23 dB of the mean squared difference."""
    truth = images(0, 2)
    fake = truth + torch.tensor([0.2, 0.02]).view(2, 1, 1, 1)
    values = paired.psnr_of_each(fake, truth)
    masks = torch.tensor([[True, True], [False, True]])
    assert paired.mean_of(values, masks).tolist() == pytest.approx([30, 40], abs=1e-3)


def test_the_hole_alone_counts_in_it() -> None:
    truth, hole = images(1), torch.zeros(4, 1, 20, 20)
    hole[:, :, 5:15, 5:15] = 1
    fake = truth + 0.2 * hole
    assert paired.psnr_of_each(fake, truth, hole).tolist() == pytest.approx([20] * 4, abs=1e-4)
    assert paired.psnr_of_each(fake, truth).tolist() == pytest.approx([20 + 10 * math.log10(4)] * 4, abs=1e-4)
    assert paired.l1_of_each(fake, truth, hole).tolist() == pytest.approx([0.1] * 4, abs=1e-6)
    assert paired.l1_of_each(fake, truth).tolist() == pytest.approx([0.025] * 4, abs=1e-6)


def ssim_by_scipy(one: np.ndarray, other: np.ndarray, side: int) -> float:
    """SSIM of two planes in 0..255, by scipy's Gaussian filter, of the places whose window is inside."""

    def blurred(values: np.ndarray) -> np.ndarray:
        inside = slice(side // 2, -(side // 2))
        return gaussian_filter(values, 1.5, truncate=side // 2 / 1.5)[inside, inside]

    x, y, c1, c2 = one.astype(float), other.astype(float), (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mx, my = blurred(x), blurred(y)
    vx, vy, cov = blurred(x * x) - mx**2, blurred(y * y) - my**2, blurred(x * y) - mx * my
    return float(((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean())


@pytest.mark.parametrize("side", [20, 8])
def test_ssim_is_that_of_another_implementation(side: int) -> None:
    truth = images(2, side=side)
    fake = (0.7 * truth + 0.3 * images(3, side=side)).clamp(-1, 1)
    window = paired.ssim_window(side, side)
    assert window == (11 if side == 20 else 7)
    planes = [((each + 1) * 127.5).double().numpy() for each in (fake, truth)]
    each = zip(*planes, strict=True)
    expected = [np.mean([ssim_by_scipy(*pair, window) for pair in zip(*both, strict=True)]) for both in each]
    found = paired.ssim_of_each(fake, truth)
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
    assert 0.1 < found.min() < found.max() < 0.99
    assert paired.ssim_of_each(truth, truth).tolist() == pytest.approx([1] * 4)


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (28, 12)])
def test_ssim_of_small_images_has_a_smaller_window(shape: tuple[int, int]) -> None:
    some = torch.rand(2, 1, *shape) * 2 - 1
    assert paired.ssim_window(*shape) == {1: 1, 2: 1, 28: 11}[shape[0]]
    assert paired.ssim_of_each(some, some).tolist() == pytest.approx([1, 1])
    assert (paired.ssim_of_each(-some, some) < 1).all()


def test_blurred_images_are_less_sharp_and_noisy_ones_more() -> None:
    truth = images(4)

    def sharpness(fake: Tensor) -> float:
        each = paired.gradient_of_each(fake), paired.gradient_of_each(truth)
        return paired.quotient_of_sums(*each, ALL).item()

    blurred = avg_pool2d(truth, 3, stride=1, padding=1, count_include_pad=False)
    noise = torch.rand(truth.shape, generator=torch.Generator().manual_seed(0)) - 0.5
    assert sharpness(truth) == pytest.approx(1)
    assert sharpness(blurred) < 0.9
    assert sharpness(truth + noise) > 1.3
    assert sharpness(truth * 0.5) == pytest.approx(0.5)


def test_the_gradient_is_of_both_axes() -> None:
    checked = torch.tensor([[0.0, 1.0], [0.0, 1.0]]).view(1, 1, 2, 2)
    assert paired.gradient_of_each(checked).tolist() == [2]
    assert paired.gradient_of_each(checked.mT).tolist() == [2]


def test_distances_and_classes_of_features() -> None:
    fake, truth = torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([[3.0, 4.0], [1.0, 1.0]])
    assert paired.feature_distance_of_each(fake, truth).tolist() == [5, 0]
    found = torch.tensor([[0.6, 0.4], [0.3, 0.7]])
    assert paired.same_class_of_each(found, torch.tensor([[0.9, 0.1], [0.9, 0.1]])).tolist() == [1, 0]


def test_the_spread_is_the_mean_difference_of_two_outputs() -> None:
    """Outputs 0, 0, 0 and 1 of one input: half of the six pairs differ by 1, of a range of 2."""
    outputs = torch.zeros(4, 1, 1, 3, 3)
    assert paired.spread_of_each(outputs).tolist() == [0]
    outputs[3] = 1
    assert paired.spread_of_each(outputs).tolist() == pytest.approx([0.25])
