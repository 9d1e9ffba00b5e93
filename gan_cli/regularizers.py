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


def gradient_penalty(inputs: PenaltyInputs) -> Tensor:
    """E(|grad D(x')| - 1)^2, x' = a x + (1 - a) G(z), a ~ U[0, 1] for each sample (1704.00028, equation 3)."""
    shape = (len(inputs.real),) + (1,) * (inputs.real.ndim - 1)
    mix = torch.rand(shape, generator=inputs.random).to(inputs.real)
    between = torch.lerp(inputs.fake, inputs.real, mix)
    squared = squared_gradient_norm(inputs.discriminator, between, inputs.condition)
    return (squared.add(TINY).sqrt() - 1).square().mean()


TINY = 1e-12  # keeps the slope of the square root finite at a gradient of exactly zero


@torch.no_grad()
def clip_weights(discriminator: nn.Module, limit: float) -> None:
    """Clamps every weight of D to [-limit, limit] (1701.07875, algorithm 1, line 7)."""
    torch._foreach_clamp_min_(list(discriminator.parameters()), -limit)
    torch._foreach_clamp_max_(list(discriminator.parameters()), limit)


PENALTIES = {"r1": r1_penalty, "gradient_penalty": gradient_penalty}
WEIGHT_RULES = {"weight_clip": clip_weights}
