"""What the two networks minimize and how they are updated, as functions, resolved once from a config.

`build_objective` finds each function by its option's name and replaces `auto` by its value, so that `steps.py` contains
no branch on an option.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gan_cli.config.options import TrainingOptions, optimizer_settings
from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Batches
from gan_cli.data.labels import attributes_of
from gan_cli.models.build_networks import latent_of
from gan_cli.models.conditioning import classification_loss
from gan_cli.models.latents import LatentDistribution
from gan_cli.models.layers import DiscriminatorOutput
from gan_cli.objectives.augmentation import next_ada_probability
from gan_cli.objectives.losses import LOSSES
from gan_cli.objectives.regularizers import PENALTIES, STATE_UPDATES, WEIGHT_CONSTRAINTS, PenaltyInputs
from gan_cli.state.ema import update_average
from gan_cli.state.optimizers import rate_multiplier
from gan_cli.state.train_state import Counters, TrainState
from gan_cli.training.alternation import Alternation, is_first_of_generator, is_last_of_discriminator
from gan_cli.training.discriminator_input import DiscriminatorInput
from gan_cli.training.generator_loss import (
    LogitLoss,
    Opponent,
    build_generator_loss,
    build_opponent,
    build_top_selection,
)

LAZY_INTERVAL = 8  # D updates, on images; lazy penalties fail on points (2501.05441, appendix E)
CLASSIFICATION = "classification"  # AC-GAN's term, among D's penalties
ADA_RAMP = 100_000  # images in which the probability can go from 0 to 1

Discriminate = Callable[[Callable[..., Any], Tensor, Tensor | None], DiscriminatorOutput]


class DiscriminatorPass(NamedTuple):
    """D's inputs of real and as many fake samples, and its outputs `on_real` and `on_fake`."""

    discriminator: nn.Module
    real: Tensor
    fake: Tensor
    condition: Tensor | None
    on_real: DiscriminatorOutput
    on_fake: DiscriminatorOutput
    random: torch.Generator
    penalty_state: dict[str, dict[str, Tensor]]


class Penalty(NamedTuple):
    """A term of D's loss beside the adversarial one, computed in the updates 0, `interval`, 2 `interval` ...

    `weight` is multiplied by the interval already: it counts for the updates that are skipped (1912.04958, appendix B).
    """

    name: str
    weight: float
    interval: int
    compute: Callable[[DiscriminatorPass], Tensor]


@dataclass(frozen=True)
class Objective:
    """The choices of a config as functions and numbers; for a choice that is off, a function that changes nothing."""

    seed: int
    latent: LatentDistribution
    batch_size: int
    accumulate: int  # equal parts in which a batch is worked on, one after the other
    alternation: Alternation
    reuse_fakes: bool
    autocast: Callable[[], torch.autocast]  # the precision of the networks
    learning_rate: Callable[[str, Counters], float]  # of `generator` or `discriminator`
    clip_gradients: Callable[[nn.Module], object]
    discriminator_input: DiscriminatorInput
    discriminate: Discriminate  # D's output, float32, from D, its input and condition
    # D's update
    discriminator_loss: LogitLoss  # of real and fake logits
    penalties: tuple[Penalty, ...]
    constrain_weights: Callable[[nn.Module], None]  # of D, after its update
    update_penalty_state: Callable[[TrainState, Tensor, Tensor], None]  # by D's real and fake logits of the whole batch
    adapt_augmentation: Callable[[TrainState, Tensor], None]  # by D's logits of real samples
    # G's update
    needs_real: bool  # whether D's outputs for real samples enter G's loss
    opponent: Opponent  # D as G learns through it
    select_top: Callable[[Tensor, Tensor | None, int], tuple[Tensor, Tensor | None]]  # of fake and real logits
    generator_loss: Callable[[Tensor, Tensor | None], Tensor]  # of fake and real logits
    classification_loss: Callable[[DiscriminatorOutput, Tensor | None], Tensor | float]  # of fakes, weighted
    update_average: Callable[[TrainState], None]

    def due_penalties(self, update: int) -> list[Penalty]:
        """Returns the penalties of D's update number `update`, counted from 0."""
        return [penalty for penalty in self.penalties if update % penalty.interval == 0]

    def keeps_fakes(self, counters: Counters) -> bool:
        """Returns whether G's next update will learn from the fakes of D's next update."""
        return self.reuse_fakes and is_last_of_discriminator(counters, self.alternation)

    def reuses_fakes(self, counters: Counters) -> bool:
        """Returns whether G's next update learns from the fakes of D's last update."""
        return self.reuse_fakes and is_first_of_generator(counters, self.alternation)


def build_objective(config: Config, batches: Batches) -> Objective:
    """Resolves the choices of a config for a run on these batches."""
    training, conditioning, optimizer = config.training, config.conditioning, config.optimizer
    loss, regularizer = LOSSES[config.loss.name], config.regularizer
    discriminator_loss = _smoothed(loss.discriminator, training.label_smoothing)
    classify = _classification(conditioning)
    learning_rate = _learning_rates(optimizer, training.lr_schedule)
    unrolled = training.unroll_steps > 0
    return Objective(
        seed=batches.seed,
        latent=latent_of(config),
        batch_size=batches.batch_size,
        accumulate=training.accumulate,
        alternation=_alternation(training, batches),
        reuse_fakes=_reuses_fakes(training, compiled=config.compile),
        autocast=partial(torch.autocast, batches.device.type, torch.bfloat16, enabled=config.precision == "bf16"),
        learning_rate=learning_rate,
        clip_gradients=_gradient_clip(training.clip_grad_norm),
        discriminator_input=DiscriminatorInput(training.augment, training.instance_noise, training.pack),
        discriminate=_discriminate if classify is None else _discriminate_with_classes,
        discriminator_loss=discriminator_loss,
        penalties=(
            *_penalties(regularizer, images=len(config.sample_shape) > 1),
            *_classification_penalty(classify, conditioning),
        ),
        constrain_weights=_weight_rules(regularizer),
        update_penalty_state=_penalty_state_rules(regularizer),
        adapt_augmentation=_augmentation_rule(training.ada_target, batches.batch_size),
        needs_real=loss.paired or unrolled,
        opponent=build_opponent(
            optimizer_settings(optimizer, "discriminator"), training.unroll_steps, discriminator_loss, learning_rate
        ),
        select_top=build_top_selection(training.top_k, batches),
        generator_loss=build_generator_loss(loss, discriminator_loss, unrolled=unrolled),
        classification_loss=_weighted(classify, conditioning),
        update_average=_average(training.ema_decay, always_warm=config.init_from is None),
    )


# --- both networks -----------------------------------------------------------------------------------------------


def _alternation(training: TrainingOptions, batches: Batches) -> Alternation:
    unit = batches.per_epoch if training.alternate == "epoch" else 1
    return Alternation(training.n_critic * unit, training.generator_updates * unit, training.critic_warmup)


def _reuses_fakes(training: TrainingOptions, *, compiled: bool) -> bool:
    """Returns whether G reuses D's fakes: if that is chosen, and they can be generated again bit for bit after a stop.

    Compiled networks round otherwise while their statistics are frozen. The parts of a batch are not kept in memory.
    """
    return training.reuse_fakes and training.accumulate == 1 and not compiled


def _learning_rates(optimizer: Any, schedule: str) -> Callable[[str, Counters], float]:
    base = {role: getattr(optimizer, role).lr for role in ("generator", "discriminator")}
    return lambda role, counters: base[role] * rate_multiplier(schedule, counters.step, counters.total_steps)


def _gradient_clip(most: float | None) -> Callable[[nn.Module], object]:
    if most is None:
        return lambda network: None
    return lambda network: nn.utils.clip_grad_norm_(network.parameters(), most)


def _discriminate(discriminator: Callable[..., Any], samples: Tensor, condition: Tensor | None) -> DiscriminatorOutput:
    return DiscriminatorOutput(discriminator(samples, condition).float())


def _discriminate_with_classes(discriminator: Any, samples: Tensor, condition: Tensor | None) -> DiscriminatorOutput:
    output = discriminator.discriminate(samples, condition)
    return DiscriminatorOutput(output.logits.float(), output.class_logits.float())


def _classification(conditioning: Any) -> Callable[[DiscriminatorOutput, Tensor | None], Tensor] | None:
    """AC-GAN's classification loss of samples, in a pack each by itself (1610.09585, equation 3); None for others."""
    if conditioning.name != "acgan":
        return None
    count, attributes = len(conditioning.classes or ()), attributes_of(conditioning.classes or ())

    def classify(output: DiscriminatorOutput, condition: Tensor | None) -> Tensor:
        assert output.class_logits is not None
        assert condition is not None
        return classification_loss(output.class_logits.view(-1, count), condition.view(-1, count), attributes)

    return classify


# --- D's update --------------------------------------------------------------------------------------------------


def _smoothed(loss: Callable[..., Tensor], smoothing: float) -> LogitLoss:
    """D's loss; label smoothing moves its target for real samples from 1 to 1 - smoothing, that for fakes stays 0.

    -t log D - (1 - t) log(1 - D) is softplus(-logit) + (1 - t) logit.
    """
    if smoothing == 0:
        return lambda real_logits, fake_logits: loss(real_logits=real_logits, fake_logits=fake_logits)
    return lambda real_logits, fake_logits: (
        loss(real_logits=real_logits, fake_logits=fake_logits) + smoothing * real_logits.mean()
    )


def _penalties(regularizer: dict[str, Any], *, images: bool) -> list[Penalty]:
    """The penalties among the chosen regularizers; `auto` is the interval of a lazy penalty on images, 1 on points."""
    penalties = []
    for name in [name for name in regularizer if name in PENALTIES]:
        settings = dataclasses.asdict(regularizer[name])
        weight, interval = settings.pop("weight"), settings.pop("every", 1)
        if interval == "auto":
            interval = LAZY_INTERVAL if images else 1
        penalties.append(Penalty(name, weight * interval, interval, _penalty(name, settings)))
    return penalties


def _classification_penalty(classify: Callable[..., Tensor] | None, conditioning: Any) -> list[Penalty]:
    """AC-GAN's term of D's loss: the classification of real and fake samples; none for others."""
    if classify is None:
        return []

    def both(forward: DiscriminatorPass) -> Tensor:
        return classify(forward.on_real, forward.condition) + classify(forward.on_fake, forward.condition)

    return [Penalty(CLASSIFICATION, conditioning.weight, 1, both)]


def _penalty(name: str, settings: dict[str, Any]) -> Callable[[DiscriminatorPass], Tensor]:
    def compute(forward: DiscriminatorPass) -> Tensor:
        inputs = PenaltyInputs(
            *(forward.discriminator, forward.real, forward.fake, forward.condition, forward.random),
            *(forward.on_real.logits, forward.on_fake.logits, forward.penalty_state.get(name)),
        )
        return PENALTIES[name](inputs, **settings)

    return compute


def _weight_rules(regularizer: dict[str, Any]) -> Callable[[nn.Module], None]:
    """Applies those of the chosen regularizers that act on D's weights."""
    chosen = regularizer.keys() & WEIGHT_CONSTRAINTS.keys()
    rules: list[Callable[[nn.Module], None]] = [
        partial(WEIGHT_CONSTRAINTS[name], **dataclasses.asdict(regularizer[name])) for name in chosen
    ]

    def constrain(discriminator: nn.Module) -> None:
        for rule in rules:
            rule(discriminator)

    return constrain


def _penalty_state_rules(regularizer: dict[str, Any]) -> Callable[[TrainState, Tensor, Tensor], None]:
    """Updates the state of penalties once in each update, by the logits of the whole batch."""
    rules: dict[str, Callable[..., dict[str, Tensor]]] = {}
    for name in [name for name in regularizer if name in STATE_UPDATES]:
        settings = dataclasses.asdict(regularizer[name])
        del settings["weight"]
        rules[name] = partial(STATE_UPDATES[name], **settings)

    def update(state: TrainState, real_logits: Tensor, fake_logits: Tensor) -> None:
        for name, rule in rules.items():
            state.penalty_state[name] = rule(state.penalty_state[name], real_logits, fake_logits)

    return update


def _augmentation_rule(target: float | None, batch_size: int) -> Callable[[TrainState, Tensor], None]:
    """Adapts the probability of augmentation to the share of real samples that D is sure of (ADA, 2006.06676)."""

    def adapt(state: TrainState, real_logits: Tensor) -> None:
        if state.augment_probability is not None and target is not None:
            state.augment_probability = next_ada_probability(
                state.augment_probability,
                real_logits.sign().mean(),
                target=float(target),
                batch=batch_size,
                interval=1,
                ramp_images=ADA_RAMP,
            )

    return adapt


# --- G's update --------------------------------------------------------------------------------------------------


def _weighted(
    classify: Callable[..., Tensor] | None, conditioning: Any
) -> Callable[[DiscriminatorOutput, Tensor | None], Tensor | float]:
    if classify is None:
        return lambda output, condition: 0.0
    return lambda output, condition: conditioning.weight * classify(output, condition)


def _average(decay: float, *, always_warm: bool) -> Callable[[TrainState], None]:
    """Moves G's average, whose decay grows at first unless the run started from another one's weights."""

    def update(state: TrainState) -> None:
        if state.generator_ema is not None:
            warm = always_warm or state.counters.new_layers
            update_average(state.generator_ema, state.generator, decay, state.counters.step if warm else None)

    return update
