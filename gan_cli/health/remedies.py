"""Remedies for failures of training: overrides that fit the run's config. Imports no torch."""

from __future__ import annotations

from gan_cli.config.compatibility import CROSS_ENTROPIES
from gan_cli.config.options.objectives import GRADIENT_PENALTIES
from gan_cli.config.options.tasks import WITH_IMAGE
from gan_cli.config.train_config import Config
from gan_cli.errors import format_number

MAX_REMEDIES = 3
PAIRED_LOSSES = ("l1", "l2")
OF_DISCRIMINATOR = ("loss", "distance", "penalty", "pack", "minibatch", "noise", "slower_discriminator")
LEAST_RATE = 1e-6  # a smaller learning rate is not offered
WITHOUT_LATENT = ("unet", "gated_unet", "edsr")  # generators that work without a latent
# The names of the remedies for each finding, the most likely to help first.
REMEDIES = {
    "divergence": ("penalty", "slower", "clip"),
    "saturated_generator": ("slower", "clip", "penalty"),
    "blank_output": ("slower", "penalty"),
    "vanishing_gradient": ("loss", "distance", "penalty", "noise", "slower_discriminator"),
    "ignores_condition": ("paired_loss", "more_paired_loss", "no_latent", "slower", "penalty"),
    "copies_input": ("paired_loss", "more_paired_loss", "slower", "penalty"),
    "mode_collapse": ("pack", "minibatch", "penalty", "paired_loss", "more_paired_loss"),
    "discriminator_overpowered": ("penalty", "noise", "slower_discriminator"),
    "oscillation": ("penalty", "schedule", "slower"),
    "fully_augmented": ("penalty", "slower_discriminator"),
    "ignores_latent": ("no_latent", "less_paired_loss"),
    "nonfinite": ("precision", "slower", "penalty", "rollback"),
}


def remedies_for(finding: str, config: Config) -> list[str]:
    """Returns at most MAX_REMEDIES overrides for this finding that fit the config, the most likely to help first."""
    overrides = _fitting_overrides(config)
    return [overrides[name] for name in REMEDIES[finding] if name in overrides][:MAX_REMEDIES]


def _fitting_overrides(config: Config) -> dict[str, str]:
    """Returns the overrides of each remedy, without those that change nothing or do not go with the config.

    A gradient penalty does not allow batch norm in D. "distance" is the Wasserstein loss with a gradient penalty.
    Remedies of the discriminator are left out if the generator gets nothing from it.
    """
    training, rates = config.training, config.optimizer
    discriminator = config.architecture.discriminator
    batch_norm = getattr(discriminator, "normalization", "none") == "batch"
    no_batch_norm = " architecture.discriminator.normalization=none" if batch_norm else ""
    slower = (
        f"optimizer.discriminator.lr={format_number(rates.discriminator.lr / 10, 3)}" if rates.discriminator.lr else ""
    )
    slower_both = f"optimizer.generator.lr={format_number(rates.generator.lr / 10, 3)} {slower}"
    if rates.generator.lr == rates.discriminator.lr == rates.lr:
        slower_both = f"optimizer.lr={format_number(rates.lr / 10, 3)}"
    cross_entropy_of_images = len(config.sample_shape) > 1 and config.loss.name in CROSS_ENTROPIES
    pack = 2 * training.pack
    remedies = {
        "loss": ("loss=non_saturating", config.loss.name == "minimax"),
        "distance": (
            f"loss=wasserstein regularizer=gradient_penalty{no_batch_norm}",
            cross_entropy_of_images and not (training.label_smoothing or training.unroll_steps or training.ada_target),
        ),
        "penalty": (
            f"regularizer=r1{no_batch_norm}",
            not config.regularizer.keys() & {*GRADIENT_PENALTIES} and not training.unroll_steps,
        ),
        "pack": (
            f"training.pack={pack}",
            config.batch_size % (pack * training.accumulate) == 0
            and pack <= 64
            and config.task.name not in WITH_IMAGE
            and discriminator.name != "projected",  # whose network takes one image
        ),
        "minibatch": (
            "architecture.discriminator.minibatch=stddev",
            getattr(discriminator, "minibatch", None) == "none",
        ),
        "noise": ("training.instance_noise=0.5", not training.instance_noise),
        "clip": ("training.clip_grad_norm=1", training.clip_grad_norm is None),
        "schedule": ("training.lr_schedule=linear", training.lr_schedule == "constant"),
        "slower": (slower_both, min(rates.generator.lr, rates.discriminator.lr) >= 10 * LEAST_RATE),
        "slower_discriminator": (slower, rates.discriminator.lr >= 10 * LEAST_RATE),
        "precision": ("precision=fp32", config.precision == "fp16"),
        "rollback": ("health.on_nonfinite=rollback", config.health.on_nonfinite != "rollback"),
    }
    useless = () if getattr(config.loss, "weight", 1.0) else OF_DISCRIMINATOR
    fitting = {name: overrides for name, (overrides, fits) in remedies.items() if fits and name not in useless}
    return fitting | (_overrides_of_task(config) if config.task.name in WITH_IMAGE else {})


def _overrides_of_task(config: Config) -> dict[str, str]:
    """Returns the remedies of tasks whose generator is given an image: more or less of a paired loss, no latent."""
    auxiliary, overrides = config.auxiliary, {}
    paired = next((name for name in PAIRED_LOSSES if name in auxiliary), None)
    if paired is None:
        overrides["paired_loss"] = f"auxiliary=[{','.join([*auxiliary, PAIRED_LOSSES[0]])}]"
    else:
        weight = 10 * auxiliary[paired].weight or 1
        overrides["more_paired_loss"] = f"auxiliary.{paired}.weight={weight:g}"
        if config.loss.weight and auxiliary[paired].weight:
            overrides["less_paired_loss"] = f"auxiliary.{paired}.weight={auxiliary[paired].weight / 10:g}"
    if config.architecture.generator.name in WITHOUT_LATENT and config.architecture.generator.latent_dim:
        overrides["no_latent"] = "architecture.generator.latent_dim=0"
    return overrides
