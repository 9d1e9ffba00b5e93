"""Prepares samples for D: augmentation, then noise, then packing.

Real samples and fakes are prepared in the same way, in the updates of D and of G.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gan_cli.config.train_config import Config
from gan_cli.device import to_device
from gan_cli.distributed.batch_share import own, whole
from gan_cli.objectives.augmentation import augment, next_ada_probability
from gan_cli.state.schedules import scheduled
from gan_cli.state.train_state import TrainState
from gan_cli.tasks.condition import Condition

ADA_RAMP = 100_000  # images in which the probability of augmentation can go from 0 to 1


def discriminator_input(samples: Tensor, state: TrainState, config: Config, rng: torch.Generator) -> Tensor:
    """Converts samples `[N, C, ...]` to D's input `[N / pack, C * pack, ...]`, differentiable in the samples.

    Noise is Gaussian. Its standard deviation falls linearly from `instance_noise` to 0 during the run.
    """
    options = config.training
    if options.augment:
        samples = augment(samples, options.augment, rng, augment_probability(state, config))
    if options.instance_noise > 0:
        drawn = own(torch.randn(whole(len(samples)), *samples.shape[1:], generator=rng))
        noise = to_device(drawn, samples.device).to(samples.dtype)
        samples = samples + options.instance_noise * (1 - state.counters.progress) * noise
    return pack_samples(samples, options.pack)


def discriminator_inputs(
    batches: Sequence[Tensor | None],
    condition: Condition | None,
    state: TrainState,
    config: Config,
    rng: torch.Generator,
) -> tuple[list[Any], Condition | None]:
    """Converts batches of samples of one condition, and this condition, to D's inputs. A None stays None.

    An image and a mask of the condition change as the samples do, so all batches then get the same augmentation.
    """
    together = bool(config.training.augment) and condition is not None and condition.image is not None
    before = rng.get_state()
    inputs = []
    for samples in batches:
        if together:
            rng.set_state(before)
        inputs.append(None if samples is None else discriminator_input(samples, state, config, rng))
    if condition is None:
        return inputs, None
    if together:
        condition = _augment_images(condition, state, config, rng, before)
    return inputs, condition.map(lambda part: pack_samples(part, config.training.pack))


def _augment_images(
    condition: Condition, state: TrainState, config: Config, rng: torch.Generator, before: Tensor
) -> Condition:
    """Augments the image and the mask as samples are augmented from the state `before` of `rng`."""
    augmented, policies = {}, config.training.augment
    probability = augment_probability(state, config)
    for name in ("image", "mask"):
        part = getattr(condition, name)
        if part is not None:
            rng.set_state(before)
            augmented[name] = augment(part, policies, rng, probability, masks=name == "mask")
    return condition._replace(**augmented)


def augment_probability(state: TrainState, config: Config) -> Tensor | float:
    """Returns the probability of each augmentation, a tensor `[]` if it is adaptive."""
    if state.augment_probability is not None:
        return state.augment_probability
    start = config.training.augment_probability
    return scheduled(config.schedule.augment_probability, start, state.counters.progress)


def pack_samples(samples: Tensor, count: int) -> Tensor:
    """Joins each `count` consecutive samples along their channels (PacGAN, arXiv:1712.04086)."""
    return samples if count == 1 else samples.reshape(-1, count * samples.shape[1], *samples.shape[2:])


def adapt_augmentation(
    state: TrainState, real_logits: Tensor, target: float | None, batch_size: int, boundary: float | None = 0.0
) -> None:
    """Adapts the probability of augmentation (ADA, arXiv:2006.06676); nothing if `target` is None.

    It rises if the mean sign of D's logits for real samples is above `target`, a sign of overfitting; else it falls.
    The sign is that of the distance from `boundary`, which is the loss's (see `Loss`).
    """
    if state.augment_probability is not None and target is not None and boundary is not None:
        sign = (real_logits - boundary).sign().mean()
        state.augment_probability = next_ada_probability(
            state.augment_probability, sign, target=target, batch=batch_size, interval=1, ramp_images=ADA_RAMP
        )
