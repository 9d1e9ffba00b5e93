"""The order of updates: D `n_critic` times, then G. It depends only on the counters."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gan_cli.state.train_state import Counters

WARMUP_ROUNDS, WARMUP_EVERY = 25, 500  # as in WGAN's code


@dataclass(frozen=True)
class Alternation:
    """One round: D makes `d_updates` updates, then G `g_updates`.

    If `warmup` is above 0, D makes `warmup` updates in the first 25 rounds and in every 500th round, as in WGAN's code.
    """

    d_updates: int
    g_updates: int
    warmup: int = 0


def next_network(counters: Counters, alternation: Alternation) -> str:
    """Returns the network to update next: `discriminator` while D has updates left in this round, else `generator`."""
    round_number = counters.step // alternation.g_updates
    warmup_rounds = min(round_number + 1, WARMUP_ROUNDS) + round_number // WARMUP_EVERY if alternation.warmup else 0
    due = (round_number + 1) * alternation.d_updates + warmup_rounds * (alternation.warmup - alternation.d_updates)
    return "discriminator" if counters.d_updates < due else "generator"


def is_last_of_discriminator(counters: Counters, alternation: Alternation) -> bool:
    """Returns whether D's next update is its last before G's updates of the round."""
    return next_network(replace(counters, d_updates=counters.d_updates + 1), alternation) == "generator"


def is_first_of_generator(counters: Counters, alternation: Alternation) -> bool:
    """Returns whether G's next update is its first of the round."""
    return counters.step % alternation.g_updates == 0
