"""Prepares samples for D: augmentation, then noise, then packing.

Real samples and fakes are prepared in the same way, in the updates of D and of G.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gan_cli.config.options.loop import TrainingOptions
from gan_cli.device import to_device
from gan_cli.objectives.augmentation import augment, next_ada_probability
from gan_cli.state.train_state import TrainState

ADA_RAMP = 100_000  # images in which the probability of augmentation can go from 0 to 1


def discriminator_input(samples: Tensor, state: TrainState, options: TrainingOptions, rng: torch.Generator) -> Tensor:
    """Converts samples `[N, C, ...]` to D's input `[N / pack, C * pack, ...]`, differentiable in the samples.

    Noise is Gaussian. Its standard deviation falls linearly from `instance_noise` to 0 during the run.
    """
    if options.augment:
        probability = 1.0 if state.augment_probability is None else state.augment_probability  # None: always augment
        samples = augment(samples, options.augment, rng, probability)
    if options.instance_noise > 0:
        noise = to_device(torch.randn(samples.shape, generator=rng), samples.device).to(samples.dtype)
        samples = samples + options.instance_noise * (1 - state.counters.progress) * noise
    return pack_samples(samples, options.pack)


def pack_condition(condition: Tensor | None, count: int) -> Tensor | None:
    """Converts the condition of samples, `[N, K]`, to that of D's input, `[N / count, K * count]`."""
    return None if condition is None else pack_samples(condition, count)


def pack_samples(samples: Tensor, count: int) -> Tensor:
    """Joins each `count` consecutive samples along their channels (PacGAN, arXiv:1712.04086)."""
    return samples if count == 1 else samples.reshape(-1, count * samples.shape[1], *samples.shape[2:])


def adapt_augmentation(state: TrainState, real_logits: Tensor, target: float | None, batch_size: int) -> None:
    """Adapts the probability of augmentation (ADA, arXiv:2006.06676); nothing if `target` is None.

    It rises if the mean sign of D's logits for real samples is above `target`, a sign of overfitting; else it falls.
    """
    if state.augment_probability is not None and target is not None:
        sign = real_logits.sign().mean()
        state.augment_probability = next_ada_probability(
            state.augment_probability, sign, target=target, batch=batch_size, interval=1, ramp_images=ADA_RAMP
        )
