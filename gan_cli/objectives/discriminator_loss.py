"""From what D makes of samples to what it is to minimize: its judgement, its names for classes, its penalties."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gan_cli.config.train_config import Config
from gan_cli.data.labels import attributes_of
from gan_cli.models.conditioning import classification_loss
from gan_cli.models.layers import Discriminator, Judged
from gan_cli.objectives.losses import LOSSES
from gan_cli.objectives.regularizers import PENALTIES

LAZY = 8  # D updates, on images; lazy penalties fail on points (2501.05441, appendix E)
CLASSIFICATION = "classification"  # AC-GAN's, among D's penalties


def look(
    config: Config, judge: Callable[..., Tensor] | Discriminator, samples: Tensor, condition: Tensor | None
) -> Judged:
    """What D makes of samples as D is presented them; the names it gives them too where it gives any."""
    if config.conditioning.name != "acgan":
        return Judged(judge(samples, condition).float())
    assert isinstance(judge, Discriminator)
    seen = judge.judge(samples, condition)
    assert seen.class_logits is not None
    return Judged(seen.logits.float(), seen.class_logits.float())


def look_at_both(
    config: Config, discriminator: Callable[..., Tensor], real: Tensor, fake: Tensor, condition: Tensor | None
) -> tuple[Judged, Judged]:
    """What D makes of real and of as many fake samples: in one pass, if that is the same."""
    keeps_apart = getattr(discriminator, "keeps_apart", None)  # a network of a plugin need not say
    if keeps_apart is None or not keeps_apart(len(real)):
        of_real, of_fake = (look(config, discriminator, samples, condition) for samples in (real, fake))
        return of_real, of_fake
    twice = None if condition is None else torch.cat([condition, condition])
    both = look(config, discriminator, torch.cat([real, fake]), twice)
    logits, names = both.logits.chunk(2), both.class_logits
    named = (None, None) if names is None else names.chunk(2)
    return Judged(logits[0], named[0]), Judged(logits[1], named[1])


def naming_loss(config: Config, seen: Judged, condition: Tensor | None) -> Tensor:
    """AC-GAN's classification of the samples, in a pack each by itself (1610.09585, equation 3)."""
    assert seen.class_logits is not None
    assert condition is not None
    count = len(config.classes)
    attributes = attributes_of(config.classes)
    return classification_loss(seen.class_logits.view(-1, count), condition.view(-1, count), attributes)


def judging_loss(config: Config, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """D's loss; label smoothing moves its target for real samples from 1 to 1 - smoothing, that for fakes stays 0.

    -t log D - (1 - t) log(1 - D) is softplus(-logit) + (1 - t) logit.
    """
    loss = LOSSES[config.loss.name].discriminator(real_logits=real_logits, fake_logits=fake_logits)
    smoothing = config.training.label_smoothing
    return loss + smoothing * real_logits.mean() if smoothing > 0 else loss


def due_penalties(config: Config, update: int) -> list[str]:
    """The penalties of D's update number `update`: a lazy one is due at 0, every, 2 every ..."""
    return [name for name in config.regularizer if name in PENALTIES and update % interval_of(config, name) == 0]


def penalty_settings(config: Config, name: str) -> dict[str, Any]:
    """What a penalty takes beside its weight and interval."""
    settings = dataclasses.asdict(config.regularizer[name])
    return {key: value for key, value in settings.items() if key not in ("weight", "every")}


def penalty_weight(config: Config, name: str) -> float:
    """A penalty's factor in the loss: a lazy one counts for the updates it skips (1912.04958, appendix B)."""
    if name == CLASSIFICATION:
        return config.conditioning.weight
    return config.regularizer[name].weight * interval_of(config, name)


def interval_of(config: Config, name: str) -> int:
    """D updates from one penalty to the next; 1 for those that cannot be lazy, and of points."""
    every = getattr(config.regularizer[name], "every", 1)
    if every == "auto":
        return LAZY if len(config.sample_shape) > 1 else 1
    return every
