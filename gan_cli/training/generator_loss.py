"""The parts of G's objective: the D that its gradient goes through, top-k selection of fakes, and the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from gan_cli.data.dataset import Batches
from gan_cli.models.freezing import frozen
from gan_cli.objectives.losses import Loss
from gan_cli.objectives.unrolling import optimizer_state_of, unrolled_parameters, with_parameters
from gan_cli.state.train_state import Counters, TrainState
from gan_cli.tasks.condition import Condition

TOP_K_DECAY = 0.99  # per epoch

LogitLoss = Callable[[Tensor, Tensor], Tensor]  # (real logits, fake logits), each `[N]`


@contextmanager
def frozen_discriminator(state: TrainState, *_: Any) -> Iterator[Callable[..., Any]]:
    """Yields D. Its weights collect no gradient, and its statistics are not updated."""
    with frozen(state.discriminator):
        yield state.compiled_or_plain("discriminator")


@contextmanager
def unrolled_discriminator(
    state: TrainState,
    real: Tensor,
    fake: Tensor,
    condition: Condition | None,
    *,
    steps: int,
    loss: LogitLoss,
    learning_rate: Callable[[str, Counters], float],
    rule: dict[str, Any],
) -> Iterator[Callable[..., Any]]:
    """Yields D after `steps` more updates on this batch, which minimize `loss` (arXiv:1611.02163, section 2.2).

    The updated weights are differentiable functions of the fakes. `rule` is the name of D's optimizer and its settings.
    """
    parameters = unrolled_parameters(
        state.discriminator,
        lambda call: loss(call(real, condition), call(fake, condition)),
        rule=rule["name"],
        settings={key: value for key, value in rule.items() if key not in ("name", "lr")},
        optimizer_state=optimizer_state_of(state.discriminator_optimizer, state.discriminator),
        steps=steps,
        lr=learning_rate("discriminator", state.counters),
    )
    yield with_parameters(state.discriminator, parameters)


def select_top(
    fake_logits: Tensor, real_logits: Tensor | None, d_updates: int, *, top_k: float | None, batches: Batches
) -> tuple[Tensor, Tensor | None]:
    """Selects the highest logits of fakes, and the real logits at the same positions (top-k, arXiv:2002.06224)."""
    share = top_share(top_k, d_updates, batches)
    if share == 1:
        return fake_logits, real_logits
    best = fake_logits.topk(max(1, round(share * len(fake_logits)))).indices
    return fake_logits[best], None if real_logits is None else real_logits[best]


def top_share(top_k: float | None, d_updates: int, batches: Batches) -> float:
    """Returns the share of fakes that G learns from: 0.99 ** epochs, at least `top_k`; 1 if `top_k` is None."""
    if top_k is None:
        return 1.0
    epochs = (d_updates * batches.batch_size + batches.offset) // len(batches.dataset)
    return max(top_k, TOP_K_DECAY**epochs)


def build_generator_loss(
    loss: Loss, discriminator_loss: LogitLoss, *, unrolled: bool
) -> Callable[[Tensor, Any], Tensor]:
    """Returns G's loss, a function (fake logits, real logits). With an unrolled D a zero-sum loss is minus D's."""
    if unrolled and loss.zero_sum:
        return lambda fake_logits, real_logits: -discriminator_loss(real_logits, fake_logits)
    if loss.paired:
        return lambda fake_logits, real_logits: loss.generator(fake_logits=fake_logits, real_logits=real_logits)
    return lambda fake_logits, real_logits: loss.generator(fake_logits=fake_logits)
