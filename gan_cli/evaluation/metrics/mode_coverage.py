"""Mode coverage: how many modes of the data the samples cover, and how evenly. This measures mode collapse.

The definitions are from VEEGAN (1705.07761), as implemented by PacGAN (1712.04086) for points in the plane and for
Stacked MNIST.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gan_cli.randomness import generator_for

MODE_RADIUS = 3  # standard deviations: 98.89 % of a Gaussian in the plane, 1 - exp(-4.5)


class ModeCount(NamedTuple):
    """`covered` of `possible` modes have a high-quality sample; `share` of all samples are of high quality.

    `reverse_kl` is KL(modes of the high-quality samples || uniform) in nats: 0 if all modes have equally many samples,
    log `possible` if all samples are in one mode, and by definition also if there are no high-quality samples.
    """

    covered: int
    possible: int
    share: float
    reverse_kl: float


class ModeFloor(NamedTuple):
    """The expected result of a perfect sampler. With fewer samples it misses more modes and is less even."""

    covered: float
    reverse_kl: float


def count_modes(samples: Tensor, centres: Tensor, std: float) -> ModeCount:
    """Counts the modes around `centres` `[M, D]` that `samples` `[N, D]` cover. ValueError without centres.

    A sample is of high quality if its nearest centre is less than 3 `std` away; one such sample covers a mode. A
    sample that is not finite is of low quality. PacGAN's MetricLogger counts 2,500 samples and logs the entropy H of
    the modes' histogram; the reverse KL is log M - H.
    """
    if len(centres) == 0:
        raise ValueError("there are no modes to count")
    # Without matrix products, which cdist would use: their rounding moves samples across the boundary of a mode.
    distances = torch.cdist(samples.double(), centres.double(), compute_mode="donot_use_mm_for_euclid_dist")
    distance, nearest = distances.min(dim=1)
    good = nearest[distance < MODE_RADIUS * std]
    histogram = good.bincount(minlength=len(centres))
    return _summary(histogram, share=len(good) / max(len(samples), 1))


def count_labels(labels: Tensor, possible: int) -> ModeCount:
    """Counts the distinct `labels` `[N]` that a classifier predicted, each from 0 to `possible` - 1; else ValueError.

    All samples count as high quality. On Stacked MNIST a label is the number that three digits form; papers use 26,000
    samples.
    """
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < possible:
        raise ValueError(f"labels from {labels.min()} to {labels.max()}, of {possible} classes counted from 0")
    return _summary(labels.bincount(minlength=possible), share=1.0)


def simulate_mode_floor(possible: int, n: int, seeds: int = 100) -> ModeFloor:
    """Simulates `seeds` perfect samplers that draw `n` times from `possible` equally frequent modes; returns the mean.

    No generator does better except by chance, so a reverse KL should be compared with this value.
    """
    draws = (torch.randint(possible, (n,), generator=generator_for(seed, "floor of modes")) for seed in range(seeds))
    counts = [count_labels(drawn, possible) for drawn in draws]
    return ModeFloor(
        covered=sum(count.covered for count in counts) / seeds,
        reverse_kl=sum(count.reverse_kl for count in counts) / seeds,
    )


def _summary(histogram: Tensor, share: float) -> ModeCount:
    possible = len(histogram)
    filled = histogram[histogram > 0].double()
    frequency = filled / filled.sum()
    divergence = (frequency * (frequency * possible).log()).sum().item() if len(filled) else math.log(possible)
    return ModeCount(len(filled), possible, share, max(0.0, divergence))  # rounding can make it negative
