"""Whose turn it is: a function of the counters alone."""

from __future__ import annotations

from dataclasses import replace

from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Batches
from gan_cli.state.train_state import Counters

WARM_TURNS, WARM_EVERY = 25, 500  # as in WGAN's code


def turn_lengths(config: Config, batches: Batches) -> tuple[int, int]:
    """Updates of D, then of G, that make a turn."""
    unit = batches.per_epoch if config.training.alternate == "epoch" else 1
    return config.training.n_critic * unit, config.training.generator_updates * unit


def whose_turn(counters: Counters, d_updates: int, g_updates: int, warmup: int = 0) -> str:
    """D's until it has made its `d_updates` of the turn, then G's for its `g_updates`.

    With a `warmup` D makes that many in each of the first 25 turns and in every 500th, as in WGAN's code.
    """
    turn = counters.step // g_updates
    warm = min(turn + 1, WARM_TURNS) + turn // WARM_EVERY if warmup else 0
    due = (turn + 1) * d_updates + warm * (warmup - d_updates)
    return "discriminator" if counters.d_updates < due else "generator"


def hands_over(config: Config, counters: Counters, batches: Batches) -> bool:
    """Whether the fakes of D's next update are to be G's too: those of its last one in a turn, if they are reused."""
    after = replace(counters, d_updates=counters.d_updates + 1)
    lengths = turn_lengths(config, batches)
    return reuses_fakes(config) and whose_turn(after, *lengths, config.training.critic_warmup) == "generator"


def takes_over(config: Config, counters: Counters, batches: Batches) -> bool:
    """Whether G's next update, its first of a turn, learns from the fakes that D has just judged."""
    return reuses_fakes(config) and counters.step % turn_lengths(config, batches)[1] == 0


def reuses_fakes(config: Config) -> bool:
    """If it is wanted, and the fakes can be held and made again to the last bit.

    Of a batch that is worked on in parts only one is to be held at a time, and compiled networks round otherwise where
    their statistics stand still.
    """
    return config.training.reuse_fakes and config.training.accumulate == 1 and not config.compile
