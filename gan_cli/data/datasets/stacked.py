"""Stacked MNIST: random digits as the channels of one image; of three, 1000 modes that a classifier can count."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets.digits import MNIST, load_digits
from gan_cli.randomness import generator_for

DIGITS = 10
SEED = 0  # of the data itself, which must not change with a run's seed
NUMBERS = {1: "one", 2: "two", 3: "three"}


def build_stacked_mnist(*, size: int, digits: int, **settings: Any) -> Dataset:
    """`size` images `[digits, H, W]`, each channel a digit drawn with replacement (1611.02163, section 3.3.1).

    A label is the number that the digits spell, red first: of three 0 to 999. `settings` are those of `load_digits`.
    """
    single = load_digits(MNIST, **settings)
    assert single.labels is not None
    drawn = torch.randint(len(single), (size, digits), generator=generator_for(SEED, "stacked_mnist"))
    labels = single.labels[drawn]
    return dataclasses.replace(
        single,
        samples=single.samples[:, 0][drawn],
        labels=labels @ places(digits),
        classes=tuple(f"{number:0{digits}d}" for number in range(10**digits)),
        source=f"{size:,} stacks of {NUMBERS[digits]} of {single.source}",
    )


def unstacked(dataset: Dataset) -> tuple[Tensor, Tensor]:
    """The single digits of stacks, uint8 `[N S, 1, H, W]`, and what each is, `[N S]`."""
    assert dataset.labels is not None
    labels = dataset.labels.unsqueeze(1) // places(dataset.samples.shape[1]) % DIGITS
    return dataset.samples.flatten(0, 1).unsqueeze(1), labels.flatten()


def places(stacked: int) -> Tensor:
    """100, 10, 1."""
    return DIGITS ** torch.arange(stacked - 1, -1, -1)
