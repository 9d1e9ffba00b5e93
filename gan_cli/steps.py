"""The two halves of a GAN: D learns to tell real from fake while G is frozen, then G to deceive D while D is frozen.

Convention: real and fake go through D in two passes of their own, so that batch norm never mixes them. Networks run
in the precision of the config; losses and penalties always in float32.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import _SpectralNorm

from gan_cli.config import Config
from gan_cli.data.dataset import Batch, Batches
from gan_cli.ema import update_average
from gan_cli.losses import LOSSES
from gan_cli.optim import rate_multiplier, set_learning_rate
from gan_cli.randomness import derive_seed, generator_for
from gan_cli.regularizers import PENALTIES, WEIGHT_RULES, PenaltyInputs
from gan_cli.state import Counters, DiscriminatorOutcome, TrainState, latent_of


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
    if whose_turn(state.counters, *turn_lengths(config, batches)) == "discriminator":
        return discriminator_step(state, config, batches)
    return generator_step(state, config, batches)


def turn_lengths(config: Config, batches: Batches) -> tuple[int, int]:
    """Updates of D, then of G, that make a turn."""
    unit = batches.per_epoch if config.training.alternate == "epoch" else 1
    return config.training.n_critic * unit, config.training.generator_updates * unit


def whose_turn(counters: Counters, d_updates: int, g_updates: int) -> str:
    """D's until it has made its `d_updates` of the turn, then G's for its `g_updates`."""
    turn = counters.step // g_updates
    return "discriminator" if counters.d_updates < (turn + 1) * d_updates else "generator"


def discriminator_step(state: TrainState, config: Config, batches: Batches) -> DiscriminatorOutcome:
    """One update of D on a real batch and as many fakes; G keeps every byte."""
    update, parts = state.counters.d_updates, config.training.accumulate
    _seed_networks(config, state.device, "discriminator", update)
    latents = draw_latents(config, "discriminator", update).to(state.device)
    random = generator_for(config.seed, "penalty", update)
    state.discriminator_optimizer.zero_grad(set_to_none=True)
    judged = [
        _judge(state, config, batch, latent, random)
        for batch, latent in zip(batches.draw(update).split(parts), latents.chunk(parts), strict=True)
    ]
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
    return state.judged


def _judge(state: TrainState, config: Config, batch: Batch, latent: Tensor, random: torch.Generator) -> _Judged:
    """Adds to D's gradient what a part of a batch and as many fakes give."""
    update = state.counters.d_updates
    with torch.no_grad(), frozen(state.generator), autocast(state, config):
        fake = state.generator(latent, batch.condition).float()
    with autocast(state, config):
        real_logits = state.discriminator(batch.samples, batch.condition).float()
        fake_logits = state.discriminator(fake, batch.condition).float()
    loss = LOSSES[config.loss.name].discriminator(real_logits=real_logits, fake_logits=fake_logits)
    inputs = PenaltyInputs(state.discriminator, batch.samples, fake, batch.condition, random)
    penalties = {name: PENALTIES[name](inputs) for name in due_penalties(config, update)}
    total = loss + sum(penalty_weight(config, name) * penalty for name, penalty in penalties.items())
    (total / config.training.accumulate).backward()
    detached = {name: penalty.detach() for name, penalty in penalties.items()}
    return _Judged(loss.detach(), real_logits.detach(), fake_logits.detach(), detached)


def generator_step(state: TrainState, config: Config, batches: Batches) -> GeneratorOutcome:
    """One update of G through D, and of G's average; D keeps every byte.

    A paired loss judges the fakes beside the real batch that D has just learned from.
    """
    step, parts = state.counters.step, config.training.accumulate
    _seed_networks(config, state.device, "generator", step)
    latents = draw_latents(config, "generator", step).to(state.device)
    paired = LOSSES[config.loss.name].paired
    reals = batches.draw(state.counters.d_updates - 1).split(parts) if paired else [None] * parts
    state.generator_optimizer.zero_grad(set_to_none=True)
    losses = [_deceive(state, config, latent, real) for latent, real in zip(latents.chunk(parts), reals, strict=True)]
    rate = _descend(state, config, "generator")
    state.counters.step += 1
    if state.generator_ema is not None:
        warmth = state.counters.step if config.init_from is None else None
        update_average(state.generator_ema, state.generator, config.training.ema_decay, warmth)
    return GeneratorOutcome(torch.stack(losses).mean(), rate)


def _deceive(state: TrainState, config: Config, latent: Tensor, real: Batch | None) -> Tensor:
    """Adds to G's gradient what a part of a batch gives; its loss."""
    with frozen(state.discriminator), autocast(state, config):
        logits = {"fake_logits": state.discriminator(state.generator(latent, None), None).float()}
        if real is not None:
            logits["real_logits"] = state.discriminator(real.samples, real.condition).float()
    loss = LOSSES[config.loss.name].generator(**logits)
    (loss / config.training.accumulate).backward()
    return loss.detach()


def draw_latents(config: Config, purpose: str, count: int) -> Tensor:
    """`[batch_size, latent_dim]` on the CPU, a function of seed, purpose and count."""
    return latent_of(config).draw(generator_for(config.seed, f"latent/{purpose}", count), config.batch_size)


def _seed_networks(config: Config, device: torch.device, purpose: str, count: int) -> None:
    """What networks draw themselves, as dropout, is a function of seed, purpose and count as well."""
    seed = derive_seed(config.seed, f"network/{purpose}", count)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed looks for every kind of device, in 0.2 ms
    if device.type in ("cuda", "mps"):
        getattr(torch, device.type).manual_seed(seed)


def due_penalties(config: Config, update: int) -> list[str]:
    """The penalties of D's update number `update`: a lazy one is due at 0, every, 2 every ..."""
    return [name for name in config.regularizer if name in PENALTIES and update % config.regularizer[name].every == 0]


def penalty_weight(config: Config, name: str) -> float:
    """A penalty's factor in the loss: a lazy one counts for the updates it skips (1912.04958, appendix B)."""
    return config.regularizer[name].weight * config.regularizer[name].every


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """The network judges or generates as in training, but collects no gradient and keeps its statistics."""
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    batch_norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    spectral = [module for module in network.modules() if isinstance(module, _SpectralNorm)]
    for parameter in learning:
        parameter.requires_grad_(False)
    for norm in batch_norms:
        norm.track_running_stats = False  # normalizes by the batch, records nothing
    for module in spectral:
        module.eval()  # keeps its singular vectors
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
        for norm in batch_norms:
            norm.track_running_stats = True
        for module in spectral:
            module.train()


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
