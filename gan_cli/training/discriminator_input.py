"""Prepares samples for D: augmentation, then noise, then packing.

Real samples and fakes are prepared in the same way, in the updates of D and of G.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gan_cli.device import to_device
from gan_cli.objectives.augmentation import augment, next_ada_probability
from gan_cli.state.train_state import TrainState

ADA_RAMP = 100_000  # images in which the probability of augmentation can go from 0 to 1


@dataclass(frozen=True)
class DiscriminatorInput:
    """Augments samples, adds Gaussian noise of standard deviation `noise` at first, and packs each `pack` of them."""

    augmentations: tuple[str, ...] = ()
    noise: float = 0.0
    pack: int = 1

    def __call__(
        self, samples: Tensor, rng: torch.Generator, *, probability: Tensor | float, progress: float
    ) -> Tensor:
        """Converts samples `[N, C, ...]` to D's input `[N / pack, C * pack, ...]`, differentiable in the samples.

        `probability` is that of each augmentation. Noise falls linearly to 0 while `progress` goes from 0 to 1.
        """
        if self.augmentations:
            samples = augment(samples, self.augmentations, rng, probability)
        if self.noise > 0:
            noise = to_device(torch.randn(samples.shape, generator=rng), samples.device).to(samples.dtype)
            samples = samples + self.noise * (1 - progress) * noise
        return pack_samples(samples, self.pack)

    def pack_condition(self, condition: Tensor | None) -> Tensor | None:
        """Converts the condition of samples, `[N, K]`, to that of D's input, `[N / pack, K * pack]`."""
        return None if condition is None else pack_samples(condition, self.pack)


def pack_samples(samples: Tensor, count: int) -> Tensor:
    """Joins each `count` consecutive samples along their channels (PacGAN, arXiv:1712.04086)."""
    return samples if count == 1 else samples.reshape(-1, count * samples.shape[1], *samples.shape[2:])


def adapt_augmentation(state: TrainState, real_logits: Tensor, *, target: float | None, batch_size: int) -> None:
    """Adapts the probability of augmentation (ADA, arXiv:2006.06676); nothing if it is not adaptive.

    It rises if the mean sign of D's logits for real samples is above `target`, a sign of overfitting; else it falls.
    """
    if state.augment_probability is not None and target is not None:
        state.augment_probability = next_ada_probability(
            state.augment_probability,
            real_logits.sign().mean(),
            target=target,
            batch=batch_size,
            interval=1,
            ramp_images=ADA_RAMP,
        )
