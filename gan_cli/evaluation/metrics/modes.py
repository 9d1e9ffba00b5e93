"""How many modes of the data the samples cover, and how evenly: what mode collapse is measured by.

The definitions are VEEGAN's (1705.07761), as coded by PacGAN (1712.04086) for points in the plane and for Stacked
MNIST.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gan_cli.randomness import generator_for

REACH = 3  # standard deviations: 98.89 % of a Gaussian in the plane, 1 - exp(-4.5)


class ModeCount(NamedTuple):
    """`covered` of `possible` modes hold a sample; `share` of all samples are of high quality.

    `reverse_kl` is KL(modes of the high-quality samples || uniform) in nats: 0 for equally many in each mode,
    log `possible` for all in one mode, and by definition also for none.
    """

    covered: int
    possible: int
    share: float
    reverse_kl: float


class Floor(NamedTuple):
    """What a perfect sampler is expected to get: fewer samples miss more modes, and are spread less evenly."""

    covered: float
    reverse_kl: float


def count_modes(samples: Tensor, centres: Tensor, std: float) -> ModeCount:
    """The modes around `centres` `[M, D]` that `samples` `[N, D]` cover.

    A sample is of high quality if its nearest centre is less than 3 `std` away; one such sample covers a mode. One
    that is not finite is of low quality. PacGAN's MetricLogger counts 2,500 samples and logs the entropy H of the
    modes' histogram; the reverse KL is log M - H.
    """
    if len(centres) == 0:
        raise ValueError("there are no modes to count")
    # Not by matrix products, as cdist would: their rounding moves samples across the border.
    distances = torch.cdist(samples.double(), centres.double(), compute_mode="donot_use_mm_for_euclid_dist")
    distance, nearest = distances.min(dim=1)
    good = nearest[distance < REACH * std]
    histogram = good.bincount(minlength=len(centres))
    return _summary(histogram, share=len(good) / max(len(samples), 1))


def count_labels(labels: Tensor, possible: int) -> ModeCount:
    """The distinct ones of `labels` `[N]`, each 0 to `possible` - 1, as a classifier gave them; all count as good.

    On Stacked MNIST a label is the number that three digits spell; 26,000 samples are the custom.
    """
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < possible:
        raise ValueError(f"labels from {labels.min()} to {labels.max()}, of {possible} classes counted from 0")
    return _summary(labels.bincount(minlength=possible), share=1.0)


def floor_of(possible: int, n: int, seeds: int = 100) -> Floor:
    """The mean over `seeds` simulated samplers that draw `n` times from `possible` equally frequent modes.

    No generator does better but by chance, so that a reverse KL means something only next to this one.
    """
    draws = (torch.randint(possible, (n,), generator=generator_for(seed, "floor of modes")) for seed in range(seeds))
    counts = [count_labels(drawn, possible) for drawn in draws]
    return Floor(
        covered=sum(count.covered for count in counts) / seeds,
        reverse_kl=sum(count.reverse_kl for count in counts) / seeds,
    )


def _summary(histogram: Tensor, share: float) -> ModeCount:
    possible = len(histogram)
    filled = histogram[histogram > 0].double()
    frequency = filled / filled.sum()
    divergence = (frequency * (frequency * possible).log()).sum().item() if len(filled) else math.log(possible)
    return ModeCount(len(filled), possible, share, max(0.0, divergence))  # rounding takes it below 0
