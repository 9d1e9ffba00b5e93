"""Stacked MNIST: each channel of an image is a random digit. Three channels give 1000 modes."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets.mnist_family import MNIST, load_digits
from gan_cli.randomness import generator_for

DIGITS = 10
SEED = 0  # seed of the data; it does not depend on the seed of a run
NUMBERS = {1: "one", 2: "two", 3: "three"}


def build_stacked_mnist(*, size: int, digits: int, **settings: Any) -> Dataset:
    """Returns uint8 images `[size, digits, H, W]`; each channel is a digit drawn with replacement.

    The label is the number they form, the first channel first. `settings` are those of `load_digits`. Metz et al. 2017,
    arXiv 1611.02163, section 3.3.1.
    """
    single = load_digits(MNIST, **settings)
    assert single.labels is not None
    drawn = torch.randint(len(single), (size, digits), generator=generator_for(SEED, "stacked_mnist"))
    labels = single.labels[drawn]
    return dataclasses.replace(
        single,
        samples=single.samples[:, 0][drawn],
        labels=labels @ powers_of_ten(digits),
        classes=tuple(f"{number:0{digits}d}" for number in range(10**digits)),
        source=f"{size:,} stacks of {NUMBERS[digits]} of {single.source}",
    )


def unstack_digits(dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Splits images of S digits each. Returns the digits, uint8 `[N S, 1, H, W]`, and their labels, int64 `[N S]`."""
    assert dataset.labels is not None
    labels = dataset.labels.unsqueeze(1) // powers_of_ten(dataset.samples.shape[1]) % DIGITS
    return dataset.samples.flatten(0, 1).unsqueeze(1), labels.flatten()


def powers_of_ten(stacked: int) -> Tensor:
    """Returns the place value of each digit of a number with `stacked` digits: `[100, 10, 1]` for three."""
    return DIGITS ** torch.arange(stacked - 1, -1, -1)
