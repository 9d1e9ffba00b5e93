"""What D gets to see of a sample: augmented, then noisy, then packed; real and fake alike, in both updates."""

from __future__ import annotations

import torch
from torch import Tensor

from gan_cli.config.train_config import Config
from gan_cli.objectives.augmentation import augment
from gan_cli.state.train_state import TrainState


def present(samples: Tensor, state: TrainState, config: Config, random: torch.Generator) -> Tensor:
    """`[N, C, ...]` to what D is built for, `[N / pack, C * pack, ...]`; differentiable in the samples."""
    training = config.training
    if training.augment:
        share = state.memory["ada"]["probability"] if training.ada_target is not None else 1.0
        samples = augment(samples, training.augment, random, share)
    if training.instance_noise > 0:
        noise = torch.randn(samples.shape, generator=random).to(samples)
        samples = samples + noise_level(state, config) * noise
    return pack(samples, training.pack)


def present_condition(condition: Tensor | None, config: Config) -> Tensor | None:
    """`[N, K]` to what goes with presented samples, `[N / pack, K * pack]`."""
    return None if condition is None else pack(condition, config.training.pack)


def noise_level(state: TrainState, config: Config) -> float:
    """Standard deviation of the noise, falling linearly to 0; at its start while a time budget is measured."""
    counters = state.counters
    done = 0.0 if counters.total_steps is None else min(counters.step / counters.total_steps, 1.0)
    return config.training.instance_noise * (1 - done)


def pack(samples: Tensor, count: int) -> Tensor:
    """Each `count` samples that follow each other as one, of as many times the channels (PacGAN, 1712.04086)."""
    return samples if count == 1 else samples.reshape(-1, count * samples.shape[1], *samples.shape[2:])
