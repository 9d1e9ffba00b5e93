"""Regularizers of the discriminator: unweighted penalties for its loss, and constraints on its weights.

The penalties return unweighted values; `training/objective.py` resolves their weights and intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from gan_cli.device import to_device
from gan_cli.distributed.batch_share import current_share, own, whole
from gan_cli.distributed.collectives import mean_over_processes
from gan_cli.objectives.augmentation import flip_and_shift
from gan_cli.tasks.condition import Condition

EPSILON = 1e-12  # keeps the derivative of the square root finite at a gradient of exactly zero


class PenaltyInputs(NamedTuple):
    """The arguments of a penalty."""

    discriminator: nn.Module
    real: Tensor  # samples `[N, ...]` without gradient
    fake: Tensor
    condition: Condition | None
    random: torch.Generator
    real_logits: Tensor | None = None  # the discriminator's logits `[N]` of these samples, with gradient
    fake_logits: Tensor | None = None
    # the scalars of a penalty in `PENALTY_STATE`, which only the functions in `STATE_UPDATES` change
    penalty_state: dict[str, Tensor] | None = None
    real_maps: Sequence[Tensor] | None = None  # D's feature maps of the real samples, if it has kept them


def mean_of_patches(logits: Tensor) -> Tensor:
    """Returns one logit for each sample, `[N]`: the mean of those of its patches, if there are several."""
    return logits if logits.ndim == 1 else logits.flatten(1).mean(1)


def logits_and_squared_gradient_norm(
    discriminator: nn.Module, sample: Tensor, condition: Condition | None
) -> tuple[Tensor, Tensor]:
    """Returns the logits and |dD/dx|^2 of each sample, both `[N]` and differentiable in D's weights.

    The logit of a sample with patches is their mean, as in the loss: that of their sum has a slope many times as large.
    """
    sample = sample.detach().requires_grad_(True)
    logits = mean_of_patches(discriminator(sample, condition))
    (gradient,) = torch.autograd.grad(logits.sum(), sample, create_graph=True)
    return logits, gradient.square().flatten(1).sum(1)


def squared_gradient_norm(discriminator: nn.Module, sample: Tensor, condition: Condition | None) -> Tensor:
    """Returns |dD/dx|^2 of each sample, `[N]`, differentiable in D's weights."""
    return logits_and_squared_gradient_norm(discriminator, sample, condition)[1]


def r1_penalty(inputs: PenaltyInputs) -> Tensor:
    """1/2 E|grad D(x)|^2 over real x (1801.04406, equation 9); its weight is the paper's gamma."""
    return 0.5 * squared_gradient_norm(inputs.discriminator, inputs.real, inputs.condition).mean()


def r2_penalty(inputs: PenaltyInputs) -> Tensor:
    """1/2 E|grad D(x)|^2 over fakes x = G(z) (1801.04406, equation 10); its weight is the paper's gamma."""
    return 0.5 * squared_gradient_norm(inputs.discriminator, inputs.fake, inputs.condition).mean()


def zero_centered_penalty(inputs: PenaltyInputs) -> Tensor:
    """E|grad D(x')|^2, x' = a x + (1 - a) G(z), a ~ U[0, 1] for each sample (1902.03984, equation 8)."""
    return squared_gradient_norm(inputs.discriminator, _interpolate(inputs), inputs.condition).mean()


def dragan_penalty(inputs: PenaltyInputs) -> Tensor:
    """E(|grad D(x')| - 1)^2, x' = x + a d around real x (DRAGAN, 1705.07215).

    d is uniform in [-1, 1] times half the batch's standard deviation; a ~ U[0, 1] for each sample. The authors' code
    draws d from [0, 1], and they say that they meant both signs.
    """
    noise = 2 * _uniform(inputs.real.shape, inputs) - 1
    near = inputs.real + _interpolation_weights(inputs) * 0.5 * _standard_deviation(inputs.real) * noise
    return _distance_from_slope_1(inputs, near)


def gradient_penalty(inputs: PenaltyInputs) -> Tensor:
    """E(|grad D(x')| - 1)^2, x' = a x + (1 - a) G(z), a ~ U[0, 1] for each sample (1704.00028, equation 3)."""
    return _distance_from_slope_1(inputs, _interpolate(inputs))


def js_penalty(inputs: PenaltyInputs) -> Tensor:
    """1/2 (E (1 - s(D(x)))^2 |grad D(x)|^2 + E s(D(G(z)))^2 |grad D(G(z))|^2), s the sigmoid (Roth et al., 1705.09367).

    With weight gamma, the penalty is the first-order effect on the Jensen-Shannon divergence of adding noise of
    variance gamma to the inputs of D.
    """
    real_logits, real_norm = logits_and_squared_gradient_norm(inputs.discriminator, inputs.real, inputs.condition)
    fake_logits, fake_norm = logits_and_squared_gradient_norm(inputs.discriminator, inputs.fake, inputs.condition)
    real = (torch.sigmoid(-real_logits).square() * real_norm).mean()
    return 0.5 * (real + (torch.sigmoid(fake_logits).square() * fake_norm).mean())


def lecam_penalty(inputs: PenaltyInputs, *, decay: float, start: int) -> Tensor:
    """E max(0, D(x) - a_fake)^2 + E max(0, a_real - D(G(z)))^2 (LeCam, 2104.03310, as in the authors' code).

    The anchors a_real and a_fake are moving averages of the mean logits and include the logits of this update. The
    penalty is 0 in the first `start` updates.
    """
    real, fake = inputs.real_logits, inputs.fake_logits
    assert real is not None
    assert fake is not None
    anchors = lecam_anchors(inputs.penalty_state or {}, real, fake, decay=decay)
    penalty = relu(real - anchors["fake"]).square().mean() + relu(anchors["real"] - fake).square().mean()
    return penalty * (anchors["updates"] > start)


def lecam_anchors(
    state: dict[str, Tensor], real_logits: Tensor, fake_logits: Tensor, *, decay: float, start: int = 0
) -> dict[str, Tensor]:
    """Returns LeCam's state after an update: the moving averages of mean logits, and the number of updates.

    `start`, a setting of the penalty, is not used here.
    """
    moved = {}
    for name, logits in (("real", real_logits), ("fake", fake_logits)):
        mean = mean_over_processes(logits.detach().mean())
        moved[name] = torch.lerp(mean, state[name], decay) if name in state else mean
    updates = state["updates"] + 1 if "updates" in state else torch.ones((), device=real_logits.device)
    return {**moved, "updates": updates}


def consistency_penalty(inputs: PenaltyInputs) -> Tensor:
    """E(D(x) - D(T(x)))^2 + E(D(G(z)) - D(T(G(z))))^2, T mirrors and shifts (bCR, 2002.04724)."""
    total = torch.zeros((), device=inputs.real.device)
    for samples, logits in ((inputs.real, inputs.real_logits), (inputs.fake, inputs.fake_logits)):
        transformed = inputs.discriminator(flip_and_shift(samples, inputs.random), inputs.condition)
        total = total + (logits - transformed).square().mean()
    return total


def orthogonal_penalty(inputs: PenaltyInputs) -> Tensor:
    """Sum of |W W' * (1 - I)|^2 over D's layers, with an elementwise product * (1809.11096, equation 3).

    The penalty grows if rows of a weight matrix are similar. It does not limit the length of the rows.
    """
    total = torch.zeros((), device=inputs.real.device)
    for parameter in inputs.discriminator.parameters():
        if parameter.ndim >= 2 and parameter.requires_grad:
            rows = parameter.flatten(1)
            products = rows @ rows.mT
            total = total + (products - torch.diag(torch.diagonal(products))).square().sum()
    return total


def reconstruction_penalty(inputs: PenaltyInputs) -> Tensor:
    """The error of the images that D's decoders reconstruct from its feature maps of real samples (2101.04775, 3.2)."""
    reconstruction = cast(Callable[..., Tensor], inputs.discriminator.reconstruction)
    known = {} if inputs.real_maps is None else {"maps": inputs.real_maps}
    return reconstruction(inputs.real, inputs.condition, inputs.random, **known)


def drift_penalty(inputs: PenaltyInputs) -> Tensor:
    """E D(x)^2 over real x, which keeps the logits of a Wasserstein loss near zero (1710.10196, appendix A.1)."""
    assert inputs.real_logits is not None
    return inputs.real_logits.square().mean()


def _distance_from_slope_1(inputs: PenaltyInputs, points: Tensor) -> Tensor:
    """Returns E(|grad D(x)| - 1)^2 over the points x.

    A network that grows averages the pixels of a sample to those of its level, of `pixel_side` times the side, and the
    gradient is that in the latter. In pixels of the sample it would be `pixel_side` times as small: D at 4x4 of 32
    pixels would need a slope of 8 there, and its first updates would only make it steeper.
    """
    squared = squared_gradient_norm(inputs.discriminator, points, inputs.condition)
    slopes = squared.add(EPSILON).sqrt() * getattr(inputs.discriminator, "pixel_side", 1)
    return (slopes - 1).square().mean()


def _standard_deviation(batch: Tensor) -> Tensor:
    """Returns the standard deviation of all values of a batch, of which each process may have a share."""
    if current_share() is None:
        return batch.std()
    mean = mean_over_processes(batch.mean())
    count = whole(batch.numel())
    return (mean_over_processes((batch - mean).square().mean()) * (count / (count - 1))).sqrt()


def _interpolation_weights(inputs: PenaltyInputs) -> Tensor:
    """Draws one number of U[0, 1] for each sample. Returns them as `[N, 1, ...]`, to multiply with the samples."""
    return _uniform((len(inputs.real),) + (1,) * (inputs.real.ndim - 1), inputs)


def _uniform(shape: tuple[int, ...], inputs: PenaltyInputs) -> Tensor:
    """Draws numbers of U[0, 1] on the CPU. Returns them on the device of the samples, with their dtype."""
    drawn = own(torch.rand(whole(shape[0]), *shape[1:], generator=inputs.random))
    return to_device(drawn, inputs.real.device).to(inputs.real.dtype)


def _interpolate(inputs: PenaltyInputs) -> Tensor:
    """Returns one random point on the line between each fake sample and the real sample of the same index."""
    return torch.lerp(inputs.fake, inputs.real, _interpolation_weights(inputs))


@torch.no_grad()
def clip_weights(discriminator: nn.Module, limit: float) -> None:
    """Clamps every trainable weight of D to [-limit, limit], in place (1701.07875, algorithm 1, line 7)."""
    trainable: list[Tensor] = [parameter for parameter in discriminator.parameters() if parameter.requires_grad]
    torch._foreach_clamp_min_(trainable, -limit)
    torch._foreach_clamp_max_(trainable, limit)


PENALTIES: dict[str, Callable[..., Tensor]] = {
    "gradient_penalty": gradient_penalty,
    "r1": r1_penalty,
    "r2": r2_penalty,
    "dragan": dragan_penalty,
    "zero_centered": zero_centered_penalty,
    "js": js_penalty,
    "lecam": lecam_penalty,
    "consistency": consistency_penalty,
    "orthogonal": orthogonal_penalty,
    "reconstruction": reconstruction_penalty,
    "drift": drift_penalty,
}
PENALTY_STATE = {"lecam": ("real", "fake", "updates")}  # names of the float32 scalars that each penalty keeps
STATE_UPDATES = {"lecam": lecam_anchors}  # return the state after an update, given D's logits of the batch
WEIGHT_CONSTRAINTS = {"weight_clip": clip_weights}
