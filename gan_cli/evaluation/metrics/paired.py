"""Metrics of samples that each have a true image: PSNR, SSIM, L1, sharpness, and distances in features.

A function whose name ends in `_of_each` returns one value for each of N pairs. `mean_of` averages them over subsets of
the pairs: `masks` is bool `[R, N]`, as `resampling` makes it. Images are float in [-1, 1], `[N, C, H, W]`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d

PEAK = 2.0  # the largest difference of two values in [-1, 1]
MOST_DECIBELS = 100.0  # the PSNR of equal images, which would be infinite
SSIM_WINDOW, SSIM_SIGMA = 11, 1.5  # of Wang et al. (2004)
SSIM_CONSTANTS = ((0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2)


def mean_of(values: Tensor, masks: Tensor) -> Tensor:
    """Returns the mean of `values` `[N]` over each subset, `[R]`."""
    return masks.double() @ values.double() / masks.sum(1)


def psnr_of_each(fake: Tensor, truth: Tensor, hole: Tensor | None = None) -> Tensor:
    """Returns the peak signal-to-noise ratio of each image in dB: 10 log10(peak^2 / mean squared difference).

    With `hole`, zeros and ones `[N, 1, H, W]`, only pixels where it is 1 count. At most MOST_DECIBELS.
    """
    error = _mean_of_pixels((fake - truth).double().square(), hole)
    return (10 * (PEAK**2 / error.clamp_min(1e-12)).log10()).clamp_max(MOST_DECIBELS)


def l1_of_each(fake: Tensor, truth: Tensor, hole: Tensor | None = None) -> Tensor:
    """Returns the mean absolute difference of each image on a scale of 0 to 1; `hole` is as in `psnr_of_each`."""
    return _mean_of_pixels((fake - truth).double().abs(), hole) / PEAK


def _mean_of_pixels(values: Tensor, hole: Tensor | None) -> Tensor:
    if hole is None:
        return values.flatten(1).mean(1)
    weights = hole.double().expand_as(values).flatten(1)
    return (values.flatten(1) * weights).sum(1) / weights.sum(1).clamp_min(1)


def ssim_window(height: int, width: int) -> int:
    """Returns the side of SSIM's Gaussian window: 11 pixels, or the largest odd number that fits into the image."""
    return min(SSIM_WINDOW, (min(height, width) - 1) // 2 * 2 + 1)


def ssim_of_each(fake: Tensor, truth: Tensor) -> Tensor:
    """Returns the structural similarity of each image, at most 1 (Wang, Bovik, Sheikh and Simoncelli, 2004).

    ((2 m m' + c1) (2 s + c2)) / ((m^2 + m'^2 + c1) (v + v' + c2)) with the means m, variances v and covariance s under
    a Gaussian window, c1 = (0.01 peak)^2 and c2 = (0.03 peak)^2; the mean over channels and over the places where the
    window is inside the image.
    """
    channels, height, width = fake.shape[1:]
    side = ssim_window(height, width)
    offsets = torch.arange(side, dtype=torch.float64) - side // 2
    line = (-offsets.square() / (2 * SSIM_SIGMA**2)).exp()
    line = line / line.sum()
    x, y = ((values.double() + 1).flatten(0, 1).unsqueeze(1) for values in (fake, truth))

    def blurred(values: Tensor) -> Tensor:
        return conv2d(conv2d(values, line.view(1, 1, 1, side)), line.view(1, 1, side, 1))

    mean_x, mean_y = blurred(x), blurred(y)
    variance_x, variance_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
    covariance = blurred(x * y) - mean_x * mean_y
    c1, c2 = SSIM_CONSTANTS
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))
    return similarity.flatten(1).mean(1).view(-1, channels).mean(1)


def gradient_of_each(images: Tensor) -> Tensor:
    """Returns the sum of the absolute differences of neighbouring pixels of each image, along both axes."""
    return sum((images.double().diff(dim=axis).abs().flatten(1).sum(1) for axis in (2, 3)), torch.zeros(len(images)))


def quotient_of_sums(values: Tensor, others: Tensor, masks: Tensor) -> Tensor:
    """Returns the sum of `values` `[N]` over each subset divided by that of `others`, `[R]`.

    Of gradients of samples and of true images, this is the sharpness: 1 for samples as sharp as the true images, less
    for blurred ones, more for noisy ones.
    """
    return (masks.double() @ values.double()) / (masks.double() @ others.double()).clamp_min(1e-12)


def feature_distance_of_each(fake: Tensor, truth: Tensor) -> Tensor:
    """Returns the Euclidean distance of the features of each sample to those of its true image, both `[N, F]`."""
    return (fake.double() - truth.double()).norm(dim=1)


def same_class_of_each(fake: Tensor, truth: Tensor) -> Tensor:
    """Returns 1 for each pair to which the classifier gives one class, else 0, of class probabilities `[N, K]`."""
    return (fake.argmax(1) == truth.argmax(1)).double()


def spread_of_each(outputs: Tensor) -> Tensor:
    """Returns the mean absolute difference of two outputs of one input, over all pairs of S outputs, from 0 to 1.

    `outputs` are `[S, N, C, H, W]`; at least two of each input.
    """
    pairs = torch.triu_indices(len(outputs), len(outputs), 1).T.tolist()
    return torch.stack([l1_of_each(outputs[one], outputs[other]) for one, other in pairs]).mean(0)
