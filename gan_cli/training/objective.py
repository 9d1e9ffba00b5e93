"""The objective of a run: losses, penalties and rules of the updates, as functions and numbers.

`build_objective` resolves the options of a config once: it finds each function by its name and replaces `auto` by a
value. So `steps.py` contains no branch on an option.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gan_cli.config.options.optimizers import optimizer_settings
from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Batches
from gan_cli.data.labels import attributes_of
from gan_cli.models.build_networks import latent_of
from gan_cli.models.conditioning import classification_loss
from gan_cli.models.freezing import frozen
from gan_cli.models.latents import LatentDistribution
from gan_cli.models.layers import DiscriminatorOutput
from gan_cli.objectives.auxiliary import AUXILIARY, GeneratorPass
from gan_cli.objectives.losses import LOSSES
from gan_cli.objectives.regularizers import PENALTIES, STATE_UPDATES, WEIGHT_CONSTRAINTS, PenaltyInputs
from gan_cli.state.ema import update_ema
from gan_cli.state.optimizers import rate_multiplier
from gan_cli.state.train_state import ROLES, Counters, TrainState
from gan_cli.tasks.condition import Condition, labels_of
from gan_cli.training.alternation import Alternation
from gan_cli.training.discriminator_input import DiscriminatorInput, adapt_augmentation
from gan_cli.training.generator_loss import (
    LogitLoss,
    build_generator_loss,
    frozen_discriminator,
    select_top,
    unrolled_discriminator,
)

LAZY_INTERVAL = 8  # updates of D, on images; lazy penalties fail on points (arXiv:2501.05441, appendix E)
CLASSIFICATION = "classification"  # the name of AC-GAN's classification loss among D's penalties

Discriminate = Callable[[Callable[..., Any], Tensor, Condition | None], DiscriminatorOutput]


class DiscriminatorPass(NamedTuple):
    """One forward pass of D on real and as many fake samples. `penalty_state` is by the penalty's name."""

    inputs: PenaltyInputs
    on_real: DiscriminatorOutput
    on_fake: DiscriminatorOutput
    penalty_state: dict[str, dict[str, Tensor]]


class Penalty(NamedTuple):
    """A term that is added to D's adversarial loss in the updates 0, `interval`, 2 `interval` ...

    An interval above 1 makes it lazy. `weight` is already multiplied by the interval, to make up for the skipped
    updates (arXiv:1912.04958, appendix B). `compute` returns the unweighted value.
    """

    name: str
    weight: float
    interval: int
    compute: Callable[[DiscriminatorPass], Tensor]


class Auxiliary(NamedTuple):
    """A term that is added to G's adversarial loss. `function` returns the unweighted value."""

    name: str
    weight: float
    function: Callable[[GeneratorPass], Tensor]

    def compute(self, discriminator: Any, fake: Tensor, real: Tensor | None, condition: Condition | None) -> Tensor:
        """Returns the unweighted value for fakes and the real images of the same conditions, with a frozen D."""
        assert real is not None
        with frozen(discriminator):
            return self.function(GeneratorPass(fake, real, partial(discriminator.feature_maps, condition=condition)))


@dataclass(frozen=True)
class Objective:
    """The options of a config as functions and numbers. An option that is off is a function that changes nothing."""

    seed: int
    latent: LatentDistribution
    batch_size: int
    accumulate: int  # number of microbatches of a batch
    alternation: Alternation
    reuse_fakes: bool
    autocast: Callable[[], torch.autocast]  # a context with the precision of the networks
    learning_rate: Callable[[str, Counters], float]  # (role, counters), role `generator` or `discriminator`
    clip_gradients: Callable[[nn.Module], None]
    discriminator_input: DiscriminatorInput
    discriminate: Discriminate  # (D, its input, condition): D's output, float32
    # D's update
    discriminator_loss: LogitLoss  # (real logits, fake logits)
    penalties: list[Penalty]
    weight_constraints: list[Callable[[nn.Module], None]]  # (D), called after its update
    # by the penalty's name: (its state, real logits, fake logits) of the whole batch to its new state
    penalty_state_updates: dict[str, Callable[..., dict[str, Tensor]]]
    adapt_augmentation: Callable[[TrainState, Tensor], None]  # (state, real logits)
    # G's update
    needs_real: bool  # whether G's losses or the task need the batch of D's last update
    needs_real_logits: bool  # whether G's loss needs D's logits for real samples
    auxiliary: list[Auxiliary]
    adversarial_weight: float
    # (state, real, fake, condition): a context with the D that G's gradient goes through
    discriminator_for_generator: Callable[..., AbstractContextManager[Callable[..., Any]]]
    # (fake logits, real logits, number of D's updates): those of the fakes that D rates highest
    select_top: Callable[[Tensor, Tensor | None, int], tuple[Tensor, Tensor | None]]
    generator_loss: Callable[[Tensor, Tensor | None], Tensor]  # (fake logits, real logits)
    # (D's output for fakes, condition), already weighted
    classification_loss: Callable[[DiscriminatorOutput, Condition | None], Tensor | float]
    update_ema: Callable[[TrainState], None]

    def due_penalties(self, update: int) -> list[Penalty]:
        """Returns the penalties that belong to D's update number `update`, counted from 0."""
        return [penalty for penalty in self.penalties if update % penalty.interval == 0]


def build_objective(config: Config, batches: Batches) -> Objective:
    """Resolves the options of a config for a run on these batches."""
    training, conditioning, optimizer = config.training, config.conditioning, config.optimizer
    loss, regularizer = LOSSES[config.loss.name], config.regularizer
    discriminator_loss = partial(_discriminator_loss, loss=loss.discriminator, smoothing=training.label_smoothing)
    classify = _classification(conditioning)
    base = {role: getattr(optimizer, role).lr for role in ROLES}

    def learning_rate(role: str, counters: Counters) -> float:
        return base[role] * rate_multiplier(training.lr_schedule, counters.step, counters.total_steps)

    unit = batches.per_epoch if training.alternate == "epoch" else 1
    unrolled, rule = training.unroll_steps > 0, optimizer_settings(optimizer, "discriminator")
    unroll = partial(unrolled_discriminator, steps=training.unroll_steps, loss=discriminator_loss, rule=rule)
    return Objective(
        seed=batches.seed,
        latent=latent_of(config),
        batch_size=batches.batch_size,
        accumulate=training.accumulate,
        alternation=Alternation(training.n_critic * unit, training.generator_updates * unit, training.critic_warmup),
        # Fakes that are used again must be reproducible bit for bit after an interruption, which compiled networks are
        # not: they round differently while their statistics are frozen. Several microbatches are not kept.
        reuse_fakes=training.reuse_fakes and training.accumulate == 1 and not config.compile,
        autocast=partial(torch.autocast, batches.device.type, torch.bfloat16, enabled=config.precision == "bf16"),
        learning_rate=learning_rate,
        clip_gradients=partial(_clip_gradients, max_norm=training.clip_grad_norm),
        discriminator_input=DiscriminatorInput(training.augment, training.instance_noise, training.pack),
        discriminate=_discriminate if classify is None else _discriminate_with_classes,
        discriminator_loss=discriminator_loss,
        penalties=_penalties(config, classify),
        weight_constraints=[
            partial(constrain, **dataclasses.asdict(regularizer[name]))
            for name, constrain in WEIGHT_CONSTRAINTS.items()
            if name in regularizer
        ],
        penalty_state_updates={
            name: partial(update, **_without_weight(regularizer[name]))
            for name, update in STATE_UPDATES.items()
            if name in regularizer
        },
        adapt_augmentation=partial(adapt_augmentation, target=training.ada_target, batch_size=batches.batch_size),
        needs_real=loss.paired or unrolled or bool(config.auxiliary) or batches.make_condition is not None,
        needs_real_logits=loss.paired or unrolled,
        auxiliary=[Auxiliary(name, options.weight, AUXILIARY[name]) for name, options in config.auxiliary.items()],
        adversarial_weight=getattr(config.loss, "weight", 1.0),
        discriminator_for_generator=partial(unroll, learning_rate=learning_rate) if unrolled else frozen_discriminator,
        select_top=partial(select_top, top_k=training.top_k, batches=batches),
        generator_loss=build_generator_loss(loss, discriminator_loss, unrolled=unrolled),
        classification_loss=lambda *output: 0.0 if classify is None else conditioning.weight * classify(*output),
        update_ema=partial(_update_ema, decay=training.ema_decay, always_warm=config.init_from is None),
    )


def _clip_gradients(network: nn.Module, *, max_norm: float | None) -> None:
    if max_norm is not None:
        nn.utils.clip_grad_norm_(network.parameters(), max_norm)


def _discriminate(
    discriminator: Callable[..., Any], samples: Tensor, condition: Condition | None
) -> DiscriminatorOutput:
    return DiscriminatorOutput(discriminator(samples, condition).float())


def _discriminate_with_classes(discriminator: Any, samples: Tensor, condition: Condition | None) -> DiscriminatorOutput:
    output = discriminator.discriminate(samples, condition)
    return DiscriminatorOutput(output.logits.float(), output.class_logits.float())


def _classification(conditioning: Any) -> Callable[[DiscriminatorOutput, Condition | None], Tensor] | None:
    """Returns AC-GAN's classification loss (arXiv:1610.09585, equation 3), None without AC-GAN conditioning.

    D's output for a pack of samples has class logits for each sample; the loss is the mean over all samples.
    """
    if conditioning.name != "acgan":
        return None
    count, attributes = len(conditioning.classes or ()), attributes_of(conditioning.classes or ())

    def classify(output: DiscriminatorOutput, condition: Condition | None) -> Tensor:
        assert output.class_logits is not None
        labels = labels_of(condition).view(-1, count)
        return classification_loss(output.class_logits.view(-1, count), labels, attributes)

    return classify


def _discriminator_loss(
    real_logits: Tensor, fake_logits: Tensor, *, loss: Callable[..., Tensor], smoothing: float
) -> Tensor:
    """Returns D's loss. Label smoothing changes its target for real samples from 1 to t = 1 - smoothing.

    The target for fakes stays 0. With D = sigmoid(logit), the cross-entropy -t log D - (1 - t) log(1 - D) equals
    softplus(-logit) + (1 - t) logit, so the mean of smoothing * logit is added.
    """
    value = loss(real_logits=real_logits, fake_logits=fake_logits)
    return value + smoothing * real_logits.mean() if smoothing else value


def _penalties(config: Config, classify: Callable[..., Tensor] | None) -> list[Penalty]:
    """Returns the penalties among the regularizers, and AC-GAN's: the sum of `classify` of real and fake samples.

    `every=auto` is LAZY_INTERVAL on images, 1 on points.
    """
    regularizer: dict[str, Any] = config.regularizer
    penalties = []
    for name in [name for name in regularizer if name in PENALTIES]:
        settings = _without_weight(regularizer[name])
        interval = settings.pop("every", 1)
        if interval == "auto":
            interval = LAZY_INTERVAL if len(config.sample_shape) > 1 else 1
        unweighted = partial(_penalty, name=name, settings=settings)
        penalties.append(Penalty(name, regularizer[name].weight * interval, interval, unweighted))
    if classify is not None:

        def compute(forward: DiscriminatorPass) -> Tensor:
            condition = forward.inputs.condition
            return classify(forward.on_real, condition) + classify(forward.on_fake, condition)

        penalties.append(Penalty(CLASSIFICATION, config.conditioning.weight, 1, compute))
    return penalties


def _without_weight(options: Any) -> dict[str, Any]:
    return {key: value for key, value in dataclasses.asdict(options).items() if key != "weight"}


def _penalty(forward: DiscriminatorPass, *, name: str, settings: dict[str, Any]) -> Tensor:
    inputs = forward.inputs._replace(penalty_state=forward.penalty_state.get(name))
    return PENALTIES[name](inputs, **settings)


def _update_ema(state: TrainState, *, decay: float, always_warm: bool) -> None:
    """Updates G's EMA, if any. Its decay starts small, unless the run started from the weights of another run."""
    if state.generator_ema is not None:
        warm = always_warm or state.counters.new_layers
        update_ema(state.generator_ema, state.generator, decay, state.counters.step if warm else None)
