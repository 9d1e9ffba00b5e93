"""The two halves of a GAN: D learns to tell real from fake while G is frozen, then G to deceive D while D is frozen.

Convention: real and fake go through D in one pass where it judges each sample by itself, else in two, so that batch
norm never mixes them. Networks run in the precision of the config; losses and penalties always in float32.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gan_cli.augment import adapted_probability
from gan_cli.build import latent_of
from gan_cli.config import Config
from gan_cli.data.dataset import Batch, Batches
from gan_cli.ema import update_average
from gan_cli.freezing import frozen, untracked, without_training
from gan_cli.judging import (
    CLASSIFICATION,
    due_penalties,
    judging_loss,
    look,
    look_at_both,
    naming_loss,
    penalty_settings,
    penalty_weight,
)
from gan_cli.losses import LOSSES
from gan_cli.optim import rate_multiplier, set_learning_rate
from gan_cli.options import rule_of
from gan_cli.presentation import present, present_condition
from gan_cli.randomness import derive_seed, generator_for
from gan_cli.regularizers import PENALTIES, WEIGHT_RULES, PenaltyInputs
from gan_cli.state import DiscriminatorOutcome, TrainState
from gan_cli.turns import hands_over, takes_over, turn_lengths, whose_turn
from gan_cli.unroll import calling, memory_of, unrolled_parameters

TOP_K_DECAY = 0.99  # an epoch
ADA_RAMP = 100_000  # images in which the probability can go from 0 to 1


class GeneratorOutcome(NamedTuple):
    loss: Tensor
    learning_rate: float


class _Judged(NamedTuple):
    """What D made of a part of a batch; its gradient is in D's weights."""

    loss: Tensor
    real_logits: Tensor
    fake_logits: Tensor
    penalties: dict[str, Tensor]


def play_turn(state: TrainState, config: Config, batches: Batches) -> DiscriminatorOutcome | GeneratorOutcome:
    """The next update: the one place that knows the rule by which the networks take turns."""
    if whose_turn(state.counters, *turn_lengths(config, batches), config.training.critic_warmup) == "discriminator":
        return discriminator_step(state, config, batches)
    return generator_step(state, config, batches)


def discriminator_step(state: TrainState, config: Config, batches: Batches) -> DiscriminatorOutcome:
    """One update of D on a real batch and as many fakes; G keeps every weight.

    If G is to learn from these fakes as well, its statistics take them in now.
    """
    update, parts = state.counters.d_updates, config.training.accumulate
    _seed_networks(config, state.device, "discriminator", update)
    latents = draw_latents(config, "discriminator", update).to(state.device)
    random = generator_for(config.seed, "penalty", update)
    state.discriminator_optimizer.zero_grad(set_to_none=True)
    kept = hands_over(config, state.counters, batches)
    judged = []
    for batch, latent in zip(batches.draw(update).split(parts), latents.chunk(parts), strict=True):
        with nullcontext() if kept else without_training(state.generator):
            fake = make_fakes(state, config, latent, batch.condition)
        state.fakes = fake if kept else None
        judged.append(_judge(state, config, batch, fake.detach(), random))
    rate = _descend(state, config, "discriminator")
    for name in config.regularizer.keys() & WEIGHT_RULES.keys():
        WEIGHT_RULES[name](state.discriminator, **dataclasses.asdict(config.regularizer[name]))
    for name in judged[0].penalties:
        state.penalties[name] = torch.stack([part.penalties[name] for part in judged]).mean()
    state.counters.d_updates += 1
    state.judged = DiscriminatorOutcome(
        torch.stack([part.loss for part in judged]).mean(),
        torch.cat([part.real_logits for part in judged]),
        torch.cat([part.fake_logits for part in judged]),
        rate,
    )
    if config.training.ada_target is not None:
        _adapt_augmentation(state, config, state.judged.real_logits)
    return state.judged


def make_fakes(state: TrainState, config: Config, latent: Tensor, condition: Tensor | None) -> Tensor:
    """What G makes of latents, float32."""
    with autocast(state, config):
        return state.running("generator")(latent, condition).float()


def _judge(state: TrainState, config: Config, batch: Batch, fake: Tensor, random: torch.Generator) -> _Judged:
    """Adds to D's gradient what a part of a batch and as many fakes give."""
    update = state.counters.d_updates
    real, fake = (present(samples, state, config, random) for samples in (batch.samples, fake))
    condition = present_condition(batch.condition, config)
    with autocast(state, config):
        of_real, of_fake = look_at_both(config, state.running("discriminator"), real, fake, condition)
    real_logits, fake_logits = of_real.logits, of_fake.logits
    loss = judging_loss(config, real_logits, fake_logits)
    penalties = {}
    for name in due_penalties(config, update):
        inputs = PenaltyInputs(
            state.discriminator, real, fake, condition, random, real_logits, fake_logits, state.memory.get(name)
        )
        penalties[name] = PENALTIES[name](inputs, **penalty_settings(config, name))
    if config.conditioning.name == "acgan":
        penalties[CLASSIFICATION] = naming_loss(config, of_real, condition) + naming_loss(config, of_fake, condition)
    total = loss + sum(penalty_weight(config, name) * penalty for name, penalty in penalties.items())
    (total / config.training.accumulate).backward()
    detached = {name: penalty.detach() for name, penalty in penalties.items()}
    return _Judged(loss.detach(), real_logits.detach(), fake_logits.detach(), detached)


def _adapt_augmentation(state: TrainState, config: Config, real_logits: Tensor) -> None:
    memory = state.memory["ada"]
    memory["probability"] = adapted_probability(
        memory["probability"],
        real_logits.sign().mean(),
        target=float(config.training.ada_target or 0),
        batch=config.batch_size,
        interval=1,
        ramp_images=ADA_RAMP,
    )


def generator_step(state: TrainState, config: Config, batches: Batches) -> GeneratorOutcome:
    """One update of G through D, and of G's average; D keeps every byte.

    Where real samples are needed too, they are the batch that D has just learned from, and its fakes of their classes.
    """
    step, parts = state.counters.step, config.training.accumulate
    reused = takes_over(config, state.counters, batches)
    kept = (state.fakes if state.fakes is not None else _remade_fakes(state, config, batches)) if reused else None
    _seed_networks(config, state.device, "generator", step)
    latents = draw_latents(config, "generator", step).to(state.device)
    random = generator_for(config.seed, "present", step)
    needed = LOSSES[config.loss.name].paired or config.training.unroll_steps > 0
    seen = state.counters.d_updates - 1
    reals = batches.draw(seen).split(parts) if needed else [None] * parts
    condition = batches.conditions(seen) if needed or reused else batches.drawn_conditions(step)
    conditions = [None] * parts if condition is None else condition.chunk(parts)
    share = top_share(config, state.counters.d_updates, batches)
    state.generator_optimizer.zero_grad(set_to_none=True)
    losses = []
    for latent, asked, real in zip(latents.chunk(parts), conditions, reals, strict=True):
        fake = make_fakes(state, config, latent, asked) if kept is None else kept
        losses.append(_deceive(state, config, fake, asked, real, random, share))
    state.fakes = None
    rate = _descend(state, config, "generator")
    state.counters.step += 1
    if state.generator_ema is not None:
        warmth = state.counters.step if config.init_from is None or state.counters.new_layers else None
        update_average(state.generator_ema, state.generator, config.training.ema_decay, warmth)
    return GeneratorOutcome(torch.stack(losses).mean(), rate)


def _remade_fakes(state: TrainState, config: Config, batches: Batches) -> Tensor:
    """The fakes of D's last update, which was made in another process; G's statistics have them in already."""
    update = state.counters.d_updates - 1
    _seed_networks(config, state.device, "discriminator", update)
    latents = draw_latents(config, "discriminator", update).to(state.device)
    with untracked(state.generator):
        return make_fakes(state, config, latents, batches.conditions(update))


def _deceive(
    state: TrainState,
    config: Config,
    fake: Tensor,
    condition: Tensor | None,
    real: Batch | None,
    random: torch.Generator,
    share: float,
) -> Tensor:
    """Adds to G's gradient what a part of a batch gives; its loss."""
    rule = LOSSES[config.loss.name]
    # when looking ahead, D's weights are copies, and what leads to them must be followed
    held = nullcontext() if config.training.unroll_steps else frozen(state.discriminator)
    with held, autocast(state, config):
        fake = present(fake, state, config, random)
        seen = None if real is None else present(real.samples, state, config, random)
        condition = present_condition(condition, config)
        ahead = config.training.unroll_steps > 0
        judge = _looking_ahead(state, config, seen, fake, condition) if ahead else state.running("discriminator")
        of_fake = look(config, judge, fake, condition)
        logits = {"fake_logits": of_fake.logits}
        if seen is not None:
            logits["real_logits"] = look(config, judge, seen, condition).logits
    if share < 1:
        best = logits["fake_logits"].topk(max(1, round(share * len(logits["fake_logits"])))).indices
        logits = {name: values[best] for name, values in logits.items()}
    if config.training.unroll_steps and rule.zero_sum:
        loss = -judging_loss(config, logits["real_logits"], logits["fake_logits"])
    else:
        loss = rule.generator(**{name: logits[name] for name in logits if name == "fake_logits" or rule.paired})
    total = loss
    if config.conditioning.name == "acgan":
        total = loss + config.conditioning.weight * naming_loss(config, of_fake, condition)
    (total / config.training.accumulate).backward()
    return loss.detach()


def _looking_ahead(
    state: TrainState, config: Config, real: Tensor | None, fake: Tensor, condition: Tensor | None
) -> Callable[[Tensor, Tensor | None], Tensor]:
    """D as it would be after some more updates on this batch, differentiable in the fakes (1611.02163, section 2.2)."""
    settings = rule_of(config.optimizer, "discriminator")
    name, lr = settings.pop("name"), settings.pop("lr")
    counters = state.counters
    ahead = unrolled_parameters(
        state.discriminator,
        lambda call: judging_loss(config, call(real, condition), call(fake, condition)),
        rule=name,
        settings=settings,
        memory=memory_of(state.discriminator_optimizer, state.discriminator),
        steps=config.training.unroll_steps,
        lr=lr * rate_multiplier(config.training.lr_schedule, counters.step, counters.total_steps),
    )
    return calling(state.discriminator, ahead)


def top_share(config: Config, d_updates: int, batches: Batches) -> float:
    """The share of fakes that G learns from: 0.99 to the power of the epochs done, down to `top_k` (2002.06224)."""
    if config.training.top_k is None:
        return 1.0
    epochs = (d_updates * config.batch_size + batches.offset) // len(batches.dataset)
    return max(config.training.top_k, TOP_K_DECAY**epochs)


def draw_latents(config: Config, purpose: str, count: int) -> Tensor:
    """`[batch_size, latent_dim]` on the CPU, a function of seed, purpose and count."""
    return latent_of(config).draw(generator_for(config.seed, f"latent/{purpose}", count), config.batch_size)


def _seed_networks(config: Config, device: torch.device, purpose: str, count: int) -> None:
    """What networks draw themselves, as dropout, is a function of seed, purpose and count as well."""
    seed = derive_seed(config.seed, f"network/{purpose}", count)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed looks for every kind of device, in 0.2 ms
    if device.type in ("cuda", "mps"):
        getattr(torch, device.type).manual_seed(seed)


def autocast(state: TrainState, config: Config) -> torch.autocast:
    return torch.autocast(state.device.type, torch.bfloat16, enabled=config.precision == "bf16")


def _descend(state: TrainState, config: Config, role: str) -> float:
    """One update of a network by the gradient it holds; the learning rate it was made with."""
    network, optimizer = getattr(state, role), getattr(state, f"{role}_optimizer")
    counters, training = state.counters, config.training
    rate = getattr(config.optimizer, role).lr
    rate *= rate_multiplier(training.lr_schedule, counters.step, counters.total_steps)
    set_learning_rate(optimizer, rate)
    if training.clip_grad_norm is not None:
        nn.utils.clip_grad_norm_(network.parameters(), training.clip_grad_norm)
    optimizer.step()
    return rate
