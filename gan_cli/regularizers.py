"""What holds D in check: unweighted penalties added to its loss, and rules that act on its weights.

Weight and interval are applied in `steps.py`, nowhere else.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class PenaltyInputs(NamedTuple):
    """What a penalty may look at; `real` and `fake` are `[N, ...]` without gradient."""

    discriminator: nn.Module
    real: Tensor
    fake: Tensor
    condition: Tensor | None
    random: torch.Generator


def squared_gradient_norm(discriminator: nn.Module, sample: Tensor, condition: Tensor | None) -> Tensor:
    """|dD/dx|^2 of each sample, `[N]`, differentiable in D's weights."""
    sample = sample.detach().requires_grad_(True)
    logits = discriminator(sample, condition)
    (gradient,) = torch.autograd.grad(logits.sum(), sample, create_graph=True)
    return gradient.square().flatten(1).sum(1)


def r1_penalty(inputs: PenaltyInputs) -> Tensor:
    """1/2 E|grad D(x)|^2 over real x (1801.04406, equation 9); its weight is the paper's gamma."""
    return 0.5 * squared_gradient_norm(inputs.discriminator, inputs.real, inputs.condition).mean()


def r2_penalty(inputs: PenaltyInputs) -> Tensor:
    """1/2 E|grad D(x)|^2 over fakes x = G(z) (1801.04406, equation 10); its weight is the paper's gamma."""
    return 0.5 * squared_gradient_norm(inputs.discriminator, inputs.fake, inputs.condition).mean()


def zero_centered_penalty(inputs: PenaltyInputs) -> Tensor:
    """E|grad D(x')|^2, x' = a x + (1 - a) G(z), a ~ U[0, 1] for each sample (1902.03984, equation 8)."""
    return squared_gradient_norm(inputs.discriminator, _between(inputs), inputs.condition).mean()


def dragan_penalty(inputs: PenaltyInputs) -> Tensor:
    """E(|grad D(x')| - 1)^2, x' = x + a d around real x (DRAGAN, 1705.07215).

    As in the authors' code d has half the batch's standard deviation and a ~ U[0, 1] for each sample; unlike there it
    is uniform on both sides of zero, which the authors named as what they had meant.
    """
    noise = 2 * torch.rand(inputs.real.shape, generator=inputs.random).to(inputs.real) - 1
    near = inputs.real + _shares(inputs) * 0.5 * inputs.real.std() * noise
    squared = squared_gradient_norm(inputs.discriminator, near, inputs.condition)
    return (squared.add(TINY).sqrt() - 1).square().mean()


def gradient_penalty(inputs: PenaltyInputs) -> Tensor:
    """E(|grad D(x')| - 1)^2, x' = a x + (1 - a) G(z), a ~ U[0, 1] for each sample (1704.00028, equation 3)."""
    squared = squared_gradient_norm(inputs.discriminator, _between(inputs), inputs.condition)
    return (squared.add(TINY).sqrt() - 1).square().mean()


def _shares(inputs: PenaltyInputs) -> Tensor:
    """U[0, 1] for each sample, in a shape that spreads over it."""
    shape = (len(inputs.real),) + (1,) * (inputs.real.ndim - 1)
    return torch.rand(shape, generator=inputs.random).to(inputs.real)


def _between(inputs: PenaltyInputs) -> Tensor:
    """A point on the line from each fake to the real sample beside it."""
    return torch.lerp(inputs.fake, inputs.real, _shares(inputs))


TINY = 1e-12  # keeps the slope of the square root finite at a gradient of exactly zero


@torch.no_grad()
def clip_weights(discriminator: nn.Module, limit: float) -> None:
    """Clamps every weight of D that learns to [-limit, limit] (1701.07875, algorithm 1, line 7)."""
    learning: list[Tensor] = [parameter for parameter in discriminator.parameters() if parameter.requires_grad]
    torch._foreach_clamp_min_(learning, -limit)
    torch._foreach_clamp_max_(learning, limit)


PENALTIES = {
    "gradient_penalty": gradient_penalty,
    "r1": r1_penalty,
    "r2": r2_penalty,
    "dragan": dragan_penalty,
    "zero_centered": zero_centered_penalty,
}
WEIGHT_RULES = {"weight_clip": clip_weights}
