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
from gan_cli.data.dataset import Batches
from gan_cli.ema import update_average
from gan_cli.losses import LOSSES
from gan_cli.optim import rate_multiplier, set_learning_rate
from gan_cli.randomness import generator_for
from gan_cli.regularizers import PENALTIES, WEIGHT_RULES, PenaltyInputs
from gan_cli.state import Counters, TrainState


class DiscriminatorOutcome(NamedTuple):
    """What D's update saw: its loss without penalties, logits `[N]`, its learning rate."""

    loss: Tensor
    real_logits: Tensor
    fake_logits: Tensor
    learning_rate: float


class GeneratorOutcome(NamedTuple):
    loss: Tensor
    learning_rate: float


def play_turn(state: TrainState, config: Config, batches: Batches) -> DiscriminatorOutcome | GeneratorOutcome:
    """The next update: the one place that knows the rule by which the networks take turns."""
    if whose_turn(state.counters, config.training.n_critic) == "discriminator":
        return discriminator_step(state, config, batches)
    return generator_step(state, config, batches)


def whose_turn(counters: Counters, n_critic: int) -> str:
    """D's until it has made `n_critic` updates for the coming one of G."""
    return "discriminator" if counters.d_updates < (counters.step + 1) * n_critic else "generator"


def discriminator_step(state: TrainState, config: Config, batches: Batches) -> DiscriminatorOutcome:
    """One update of D on a real batch and as many fakes; G keeps every byte."""
    update = state.counters.d_updates
    batch = batches.draw(update)
    latent = draw_latents(config, "discriminator", update).to(state.device)
    with torch.no_grad(), frozen(state.generator), autocast(state, config):
        fake = state.generator(latent, batch.condition).float()
    with autocast(state, config):
        real_logits = state.discriminator(batch.samples, batch.condition).float()
        fake_logits = state.discriminator(fake, batch.condition).float()
    loss = LOSSES[config.loss.name].discriminator(real_logits=real_logits, fake_logits=fake_logits)
    inputs = PenaltyInputs(
        state.discriminator, batch.samples, fake, batch.condition, generator_for(config.seed, "penalty", update)
    )
    penalties = {name: PENALTIES[name](inputs) for name in due_penalties(config, update)}
    total = loss + sum(penalty_weight(config, name) * penalty for name, penalty in penalties.items())
    rate = _descend(state.discriminator_optimizer, total, config.optimizer.discriminator.lr, state, config)
    for name in config.regularizer.keys() & WEIGHT_RULES.keys():
        WEIGHT_RULES[name](state.discriminator, **dataclasses.asdict(config.regularizer[name]))
    state.penalties |= {name: penalty.detach() for name, penalty in penalties.items()}
    state.counters.d_updates += 1
    return DiscriminatorOutcome(loss.detach(), real_logits.detach(), fake_logits.detach(), rate)


def generator_step(state: TrainState, config: Config, batches: Batches) -> GeneratorOutcome:
    """One update of G through D, and of G's average; D keeps every byte.

    A paired loss judges the fakes beside the real batch that D has just learned from.
    """
    rule = LOSSES[config.loss.name]
    latent = draw_latents(config, "generator", state.counters.step).to(state.device)
    with frozen(state.discriminator), autocast(state, config):
        logits = {"fake_logits": state.discriminator(state.generator(latent, None), None).float()}
        if rule.paired:
            batch = batches.draw(state.counters.d_updates - 1)
            logits["real_logits"] = state.discriminator(batch.samples, batch.condition).float()
    loss = rule.generator(**logits)
    rate = _descend(state.generator_optimizer, loss, config.optimizer.generator.lr, state, config)
    state.counters.step += 1
    if state.generator_ema is not None:
        update_average(state.generator_ema, state.generator, config.training.ema_decay, state.counters.step)
    return GeneratorOutcome(loss.detach(), rate)


def draw_latents(config: Config, purpose: str, count: int) -> Tensor:
    """Standard normal `[batch_size, latent_dim]` on the CPU, a function of seed, purpose and count."""
    shape = (config.batch_size, config.architecture.generator.latent_dim)
    return torch.randn(shape, generator=generator_for(config.seed, f"latent/{purpose}", count))


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


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor, lr: float, state: TrainState, config: Config) -> float:
    """One update by the gradient of `loss`; the learning rate it was made with."""
    counters = state.counters
    rate = lr * rate_multiplier(config.training.lr_schedule, counters.step, counters.total_steps)
    set_learning_rate(optimizer, rate)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return rate
