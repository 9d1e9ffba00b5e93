"""Stacked MNIST: three random digits as the channels of one image, 1000 modes that a classifier can count."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from gan_cli.data.dataset import Dataset
from gan_cli.data.digits import MNIST, load_digits
from gan_cli.randomness import generator_for

SEED = 0  # of the data itself, which must not change with a run's seed
STACKED = 3


def build_stacked_mnist(*, size: int, **settings: Any) -> Dataset:
    """`size` images `[3, H, W]`, each channel a digit drawn with replacement (1611.02163, section 3.3.1).

    A label is the number that the digits spell, red first: 0 to 999. `settings` are those of `load_digits`.
    """
    digits = load_digits(MNIST, **settings)
    assert digits.labels is not None
    drawn = torch.randint(len(digits), (size, STACKED), generator=generator_for(SEED, "stacked_mnist"))
    labels = digits.labels[drawn]
    return dataclasses.replace(
        digits,
        samples=digits.samples[:, 0][drawn],
        labels=labels @ torch.tensor([100, 10, 1]),
        classes=tuple(f"{number:03d}" for number in range(10**STACKED)),
        source=f"{size:,} stacks of three of {digits.source}",
    )
