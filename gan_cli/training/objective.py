"""The objective of a run: losses, penalties and rules of the updates, as the options of a config choose them.

`steps.py` contains no branch on an option: a method of Objective changes nothing if its option is off.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gan_cli.config.options.objectives import GRADIENT_PENALTIES, WITHOUT_REAL
from gan_cli.config.options.optimizers import optimizer_settings
from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Batches
from gan_cli.data.labels import attributes_of
from gan_cli.distributed.batch_share import Share
from gan_cli.distributed.collectives import gathered
from gan_cli.models.build_networks import latent_of
from gan_cli.models.conditioning import PREDICTED, classification_loss, tag_loss
from gan_cli.models.freezing import frozen
from gan_cli.models.imagenet import load_efficientnet
from gan_cli.models.latents import LatentDistribution
from gan_cli.models.layers import DiscriminatorOutput
from gan_cli.objectives.auxiliary import PERCEPTUAL, Auxiliary, GeneratorPass, build_auxiliary
from gan_cli.objectives.losses import LOSSES, Loss
from gan_cli.objectives.regularizers import PENALTIES, STATE_UPDATES, WEIGHT_CONSTRAINTS, PenaltyInputs, mean_of_patches
from gan_cli.objectives.unrolling import optimizer_state_of, unrolled_parameters, with_parameters
from gan_cli.state.ema import early_decay, update_ema
from gan_cli.state.half_precision import autocast
from gan_cli.state.schedules import scheduled, scheduled_decay, scheduled_rate
from gan_cli.state.train_state import Counters, TrainState
from gan_cli.tasks.condition import Condition, labels_of
from gan_cli.tasks.tasks import task_of
from gan_cli.training.alternation import Alternation

LAZY_INTERVAL = 8  # updates of D, on images; lazy penalties fail on points (arXiv:2501.05441, appendix E)
CLASSIFICATION = "classification"  # the name of the classification loss among D's penalties
TOP_K_DECAY = 0.99  # per epoch


class DiscriminatorPass(NamedTuple):
    """One forward pass of D on real and as many fake samples. `penalty_state` is by the penalty's name."""

    inputs: PenaltyInputs
    on_real: DiscriminatorOutput
    on_fake: DiscriminatorOutput
    penalty_state: dict[str, dict[str, Tensor]]


class Penalty(NamedTuple):
    """A term that is added to D's adversarial loss in the updates 0, `interval`, 2 `interval` ...

    An interval above 1 makes it lazy; `Objective.penalty_weight` then makes up for the skipped updates
    (arXiv:1912.04958, appendix B). `compute` returns the unweighted value.
    """

    name: str
    weight: float
    interval: int
    compute: Callable[[DiscriminatorPass], Tensor]


@dataclass(frozen=True)
class Objective:
    """The losses and rules of the updates of a run with this config."""

    config: Config
    seed: int
    batch_size: int
    latent: LatentDistribution
    alternation: Alternation
    loss: Loss
    # AC-GAN's classification loss of D's output and the condition, unweighted; None with other conditioning
    classify: Callable[[DiscriminatorOutput, Condition | None], Tensor] | None
    penalties: list[Penalty]
    auxiliary: list[Auxiliary]
    share: Share | None = None  # of each batch, that this process computes; None: the whole batch

    def autocast(self, device: torch.device, *, unrolled: bool = False) -> torch.autocast:
        """Returns a context with the networks' precision; float32 for float16 in an `unrolled` D: nothing scales it."""
        half = not (unrolled and self.config.precision == "fp16")
        return autocast(self.config.precision if half else "fp32", device)

    def learning_rate(self, role: str, counters: Counters) -> float:
        """Returns the learning rate of the `generator` or `discriminator` in its next update."""
        return scheduled_rate(self.config, getattr(self.config.optimizer, role).lr, counters.progress)

    def update_rule(self, role: str, counters: Counters) -> dict[str, Any]:
        """Returns the settings of a network's optimizer in its next update."""
        settings = optimizer_settings(self.config.optimizer, role) | {"lr": self.learning_rate(role, counters)}
        if "beta2" in settings:
            settings["beta2"] = scheduled(self.config.schedule.beta2, settings["beta2"], counters.progress)
        return settings

    def set_rates(self, optimizer: Optimizer, role: str, counters: Counters) -> float:
        """Sets what is scheduled in the optimizer of a network for its next update. Returns the learning rate."""
        rule = self.update_rule(role, counters)
        for group in optimizer.param_groups:
            group["lr"] = rule["lr"]
            if "beta2" in rule:
                group["betas"] = rule["beta1"], rule["beta2"]
        return rule["lr"]

    def penalty_weight(self, penalty: Penalty, counters: Counters) -> float:
        """Returns the weight of a penalty in D's next update, multiplied by its interval."""
        if penalty.name not in GRADIENT_PENALTIES:
            return penalty.weight * penalty.interval
        return scheduled(self.config.schedule.penalty, penalty.weight, counters.progress) * penalty.interval

    def ema_decay(self, counters: Counters) -> float:
        """Returns the decay of the averaged generator. Unless scheduled, it starts small if G began at random."""
        decay = scheduled_decay(self.config.schedule.ema_decay, self.config.training.ema_decay, counters.progress)
        if self.config.schedule.ema_decay.to is not None or not (self.config.init_from is None or counters.new_layers):
            return decay
        return early_decay(decay, counters.step)

    def clip_gradients(self, network: nn.Module) -> None:
        if self.config.training.clip_grad_norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), self.config.training.clip_grad_norm)

    def discriminate(self, discriminator: Any, samples: Tensor, condition: Condition | None) -> DiscriminatorOutput:
        """Returns D's output for its inputs, float32, with class logits if the conditioning is AC-GAN's."""
        if self.classify is None:
            return DiscriminatorOutput(discriminator(samples, condition).float())
        output = discriminator.discriminate(samples, condition)
        return DiscriminatorOutput(output.logits.float(), output.class_logits.float())

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """Returns D's loss. Label smoothing changes its target for real samples from 1 to t = 1 - smoothing.

        The target for fakes stays 0. With D = sigmoid(logit), the cross-entropy -t log D - (1 - t) log(1 - D) equals
        softplus(-logit) + (1 - t) logit, so the mean of smoothing * logit is added.
        """
        value = self.loss.discriminator(real_logits=real_logits, fake_logits=fake_logits)
        smoothing = self.config.training.label_smoothing
        return value + smoothing * real_logits.mean() if smoothing else value

    def due_penalties(self, update: int) -> list[Penalty]:
        """Returns the penalties that belong to D's update number `update`, counted from 0."""
        return [penalty for penalty in self.penalties if update % penalty.interval == 0]

    def auxiliary_losses(
        self, state: TrainState, fake: Tensor, real: Tensor | None, condition: Condition | None, random: torch.Generator
    ) -> tuple[dict[str, Tensor], Tensor | float]:
        """Returns the auxiliary losses that belong to G's next update, by name, and their weighted sum."""
        due = [each for each in self.auxiliary if state.counters.step % each.interval == 0]
        networks = (state.generator, state.discriminator)
        given = GeneratorPass(fake, real, condition, *networks, self.latent, random, state.auxiliary_state)
        values = {each.name: each.compute(given) for each in due}
        return values, sum(each.weight * each.interval * values[each.name] for each in due)

    def constrain_weights(self, discriminator: nn.Module) -> None:
        """Applies the constraints among the regularizers to the weights of D after its update."""
        for name, constrain in WEIGHT_CONSTRAINTS.items():
            if name in self.config.regularizer:
                constrain(discriminator, **dataclasses.asdict(self.config.regularizer[name]))

    def update_penalty_state(self, state: TrainState, real_logits: Tensor, fake_logits: Tensor) -> None:
        """Updates what penalties keep from update to update, given D's logits for the whole batch."""
        for name, before in state.penalty_state.items():
            settings = _without_weight(self.config.regularizer[name])
            state.penalty_state[name] = STATE_UPDATES[name](before, real_logits, fake_logits, **settings)

    @property
    def reuse_fakes(self) -> bool:
        """Whether G learns from the fakes of D's last update.

        They must be reproducible bit for bit after an interruption, which compiled networks are not: they round
        differently while their statistics are frozen. Several microbatches are not kept.
        """
        training = self.config.training
        return training.reuse_fakes and training.accumulate == 1 and not self.config.compile

    @property
    def needs_real(self) -> bool:
        """Whether G's losses or its condition need the batch of D's last update."""
        compares = any(each.name not in WITHOUT_REAL for each in self.auxiliary)
        return self.needs_real_logits or compares or task_of(self.config.task).make_condition is not None

    @property
    def needs_real_logits(self) -> bool:
        """Whether G's loss needs D's logits for real samples."""
        return self.loss.paired or self.config.training.unroll_steps > 0

    @property
    def adversarial_weight(self) -> float:
        """The weight of the adversarial loss in G's loss; 1 for losses without this option."""
        return getattr(self.config.loss, "weight", 1.0)

    @contextmanager
    def discriminator_for_generator(
        self, state: TrainState, real: Tensor | None, fake: Tensor, condition: Condition | None
    ) -> Iterator[Callable[..., Any]]:
        """Yields the D that G's gradient goes through: a frozen one, which collects no gradient and no statistics.

        Or an unrolled one: D after `unroll_steps` more updates on this batch (arXiv:1611.02163, section 2.2), whose
        weights are differentiable functions of the fakes.
        """
        if self.config.training.unroll_steps == 0:
            with frozen(state.discriminator):
                yield state.compiled_or_plain("discriminator")
            return
        settings = self.update_rule("discriminator", state.counters)
        parameters = unrolled_parameters(
            state.discriminator,
            lambda call: self.discriminator_loss(call(real, condition), call(fake, condition)),
            optimizer_state_of(state.discriminator_optimizer, state.discriminator),
            self.config.training.unroll_steps,
            **settings,
        )
        yield with_parameters(state.discriminator, parameters)

    def top_share(self, epochs: int) -> float:
        """Returns the share of fakes that G learns from: 0.99 ** epochs, at least `top_k`; 1 without `top_k`."""
        top_k = self.config.training.top_k
        return 1.0 if top_k is None else max(top_k, TOP_K_DECAY**epochs)

    def select_top(self, fake_logits: Tensor, real_logits: Tensor | None, epochs: int) -> tuple[Tensor, Tensor | None]:
        """Selects the fakes with the highest logits (top-k, arXiv:2002.06224), and the real logits of the same rows."""
        if (share := self.top_share(epochs)) == 1:
            return fake_logits, real_logits
        fake_logits, real_logits = gathered(fake_logits), None if real_logits is None else gathered(real_logits)
        best = mean_of_patches(fake_logits).topk(max(1, round(share * len(fake_logits)))).indices
        return fake_logits[best], None if real_logits is None else real_logits[best]

    def generator_loss(self, fake_logits: Tensor, real_logits: Tensor | None) -> Tensor:
        """Returns G's adversarial loss. With an unrolled D a zero-sum loss is minus D's."""
        if self.config.training.unroll_steps > 0 and self.loss.zero_sum:
            assert real_logits is not None
            return -self.discriminator_loss(real_logits, fake_logits)
        real = {"real_logits": real_logits} if self.loss.paired else {}
        return self.loss.generator(fake_logits=fake_logits, **real)

    def classification_loss(self, on_fake: DiscriminatorOutput, condition: Condition | None) -> Tensor | float:
        """Returns G's part of the classification loss, weighted; 0 if D does not classify."""
        return 0.0 if self.classify is None else self.config.conditioning.weight * self.classify(on_fake, condition)

    def update_ema(self, state: TrainState) -> None:
        """Updates G's EMA, if any."""
        if state.generator_ema is not None:
            update_ema(state.generator_ema, state.generator, self.ema_decay(state.counters))


def build_objective(config: Config, batches: Batches, share: Share | None = None) -> Objective:
    """Returns the objective of a run on these batches. Finds each function of `config` by its name."""
    training, classify = config.training, _classification(config.conditioning)
    if "perceptual" in config.auxiliary:
        load_efficientnet(PERCEPTUAL, torch.device("cpu"))  # an error before the first step
    unit = batches.per_epoch if training.alternate == "epoch" else 1
    return Objective(
        config=config,
        seed=batches.seed,
        batch_size=batches.batch_size,
        latent=latent_of(config),
        alternation=Alternation(training.n_critic * unit, training.generator_updates * unit, training.critic_warmup),
        loss=LOSSES[config.loss.name],
        classify=classify,
        penalties=_penalties(config, classify),
        auxiliary=[build_auxiliary(name, options) for name, options in config.auxiliary.items()],
        share=share,
    )


def _classification(conditioning: Any) -> Callable[[DiscriminatorOutput, Condition | None], Tensor] | None:
    """Returns the classification loss of AC-GAN (arXiv:1610.09585, equation 3) or of tags, None if D does not classify.

    D's output for a pack of samples has class logits for each sample; the loss is the mean over all samples.
    """
    if conditioning.name not in PREDICTED:
        return None
    loss = tag_loss if conditioning.name == "tags" else classification_loss
    count, attributes = len(conditioning.classes or ()), attributes_of(conditioning.classes or ())

    def classify(output: DiscriminatorOutput, condition: Condition | None) -> Tensor:
        assert output.class_logits is not None
        labels = labels_of(condition).view(-1, count)
        return loss(output.class_logits.view(-1, count), labels, attributes)

    return classify


def _penalties(config: Config, classify: Callable[..., Tensor] | None) -> list[Penalty]:
    """Returns the penalties among the regularizers, and the sum of `classify` of real and fake samples, if it is given.

    `every=auto` is LAZY_INTERVAL on images, 1 on points.
    """
    penalties = []
    for name, options in config.regularizer.items():
        if name not in PENALTIES:
            continue
        settings = _without_weight(options)
        if (interval := settings.pop("every", 1)) == "auto":
            interval = LAZY_INTERVAL if len(config.sample_shape) > 1 else 1
        penalties.append(Penalty(name, options.weight, interval, partial(_penalty, name=name, settings=settings)))
    if classify is not None:

        def compute(forward: DiscriminatorPass) -> Tensor:
            condition = forward.inputs.condition
            on_real = classify(forward.on_real, condition)
            return on_real + classify(forward.on_fake, condition) if config.conditioning.classify_fakes else on_real

        penalties.append(Penalty(CLASSIFICATION, config.conditioning.weight, 1, compute))
    return penalties


def _without_weight(options: Any) -> dict[str, Any]:
    return {key: value for key, value in dataclasses.asdict(options).items() if key != "weight"}


def _penalty(forward: DiscriminatorPass, *, name: str, settings: dict[str, Any]) -> Tensor:
    inputs = forward.inputs._replace(penalty_state=forward.penalty_state.get(name))
    return PENALTIES[name](inputs, **settings)
