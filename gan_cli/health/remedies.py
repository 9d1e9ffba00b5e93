"""Remedies for failures of training: overrides that fit the run's config. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable

from gan_cli.config.compatibility import CROSS_ENTROPIES
from gan_cli.config.options.objectives import GRADIENT_PENALTIES
from gan_cli.config.train_config import Config

Remedy = Callable[[Config], str | None]  # returns overrides; None if they change nothing or do not go with the config


def _loss(config: Config) -> str | None:
    return "loss=non_saturating" if config.loss.name == "minimax" else None


def _distance(config: Config) -> str | None:
    """Returns the Wasserstein loss with a gradient penalty, and no batch norm in D: the penalty does not allow it."""
    images, training = len(config.sample_shape) > 1, config.training
    if not images or config.loss.name not in CROSS_ENTROPIES or training.label_smoothing or training.unroll_steps:
        return None
    batch = getattr(config.architecture.discriminator, "normalization", "none") == "batch"
    return "loss=wasserstein regularizer=gradient_penalty" + (
        " architecture.discriminator.normalization=none" if batch else ""
    )


def _penalty(config: Config) -> str | None:
    if config.regularizer.keys() & {*GRADIENT_PENALTIES} or config.training.unroll_steps:
        return None
    batch = getattr(config.architecture.discriminator, "normalization", "none") == "batch"
    return "regularizer=r1" + (" architecture.discriminator.normalization=none" if batch else "")


def _pack(config: Config) -> str | None:
    pack, parts = 2 * config.training.pack, config.training.accumulate
    return f"training.pack={pack}" if config.batch_size % (pack * parts) == 0 and pack <= 64 else None


def _minibatch(config: Config) -> str | None:
    minibatch = getattr(config.architecture.discriminator, "minibatch", None)
    return "architecture.discriminator.minibatch=stddev" if minibatch == "none" else None


def _noise(config: Config) -> str | None:
    return None if config.training.instance_noise else "training.instance_noise=0.5"


def _clip(config: Config) -> str | None:
    return "training.clip_grad_norm=1" if config.training.clip_grad_norm is None else None


def _schedule(config: Config) -> str | None:
    return "training.lr_schedule=linear" if config.training.lr_schedule == "constant" else None


def _slower(config: Config) -> str | None:
    rates = config.optimizer.generator.lr, config.optimizer.discriminator.lr
    if not all(rates):
        return None
    if rates[0] == rates[1] == config.optimizer.lr:
        return f"optimizer.lr={rates[0] / 10:.3g}"
    return f"optimizer.generator.lr={rates[0] / 10:.3g} optimizer.discriminator.lr={rates[1] / 10:.3g}"


def _slower_discriminator(config: Config) -> str | None:
    if not config.optimizer.discriminator.lr:
        return None
    return f"optimizer.discriminator.lr={config.optimizer.discriminator.lr / 10:.3g}"


def _again(config: Config) -> str | None:
    return None if config.health.on_nonfinite == "rollback" else "health.on_nonfinite=rollback"


REMEDIES: dict[str, tuple[Remedy, ...]] = {
    "divergence": (_penalty, _slower, _clip),
    "blank_output": (_slower, _penalty),
    "vanishing_gradient": (_loss, _distance, _penalty, _noise, _slower_discriminator),
    "mode_collapse": (_pack, _minibatch, _penalty),
    "discriminator_overpowered": (_penalty, _noise, _slower_discriminator),
    "oscillation": (_penalty, _schedule, _slower),
    "nonfinite": (_slower, _penalty, _again),
}
MAX_REMEDIES = 3


def remedies_for(finding: str, config: Config) -> list[str]:
    """Returns at most MAX_REMEDIES overrides for this finding that fit the config, the most likely to help first."""
    overrides = (remedy(config) for remedy in REMEDIES[finding])
    return [override for override in overrides if override is not None][:MAX_REMEDIES]
