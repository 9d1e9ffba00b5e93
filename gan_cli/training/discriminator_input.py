"""From samples to what D receives: augmented, then noisy, then packed; real and fake alike, in both updates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gan_cli.objectives.augmentation import augment


@dataclass(frozen=True)
class DiscriminatorInput:
    """Augments samples, adds noise with standard deviation `noise` at the start, and joins each `pack` of them."""

    augmentations: tuple[str, ...] = ()
    noise: float = 0.0
    pack: int = 1

    def __call__(
        self, samples: Tensor, random: torch.Generator, *, probability: Tensor | float, progress: float
    ) -> Tensor:
        """Turns samples `[N, C, ...]` into D's input `[N / pack, C * pack, ...]`, differentiable in the samples.

        `probability` is that of each augmentation; noise falls linearly to 0 as `progress` goes from 0 to 1.
        """
        if self.augmentations:
            samples = augment(samples, self.augmentations, random, probability)
        if self.noise > 0:
            noise = torch.randn(samples.shape, generator=random).to(samples)
            samples = samples + self.noise * (1 - progress) * noise
        return pack_samples(samples, self.pack)

    def pack_condition(self, condition: Tensor | None) -> Tensor | None:
        """Turns the samples' condition `[N, K]` into that of D's input, `[N / pack, K * pack]`."""
        return None if condition is None else pack_samples(condition, self.pack)


def pack_samples(samples: Tensor, count: int) -> Tensor:
    """Joins each `count` consecutive samples along their channels (PacGAN, 1712.04086)."""
    return samples if count == 1 else samples.reshape(-1, count * samples.shape[1], *samples.shape[2:])
