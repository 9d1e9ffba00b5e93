"""GAN losses: pure functions of raw logits `[N]`, each returning a batch mean.

A logit of the discriminator is high for real samples. Binary cross-entropies are written with softplus, since
-log(sigmoid(x)) = softplus(-x): `log(sigmoid(x) + eps)` loses its gradient where D is confident.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import relu, softplus


class Loss(NamedTuple):
    """The loss functions `discriminator(real_logits=, fake_logits=)` and `generator(fake_logits=)`, to be minimized.

    A `paired` loss compares each fake sample with a real sample, so its `generator` takes `real_logits` too. With
    `zero_sum`, `generator` is the negative of that part of the discriminator's loss that depends on the fake samples.
    `boundary` is the logit at which D takes a sample for real as much as for fake: the middle of the loss's targets. It
    is None for losses that do not change if a number is added to all logits.
    """

    discriminator: Callable[..., Tensor]
    generator: Callable[..., Tensor]
    paired: bool = False
    zero_sum: bool = False
    boundary: float | None = 0.0


def cross_entropy_discriminator(*, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z))), D = sigmoid of the logit (1406.2661, equation 1)."""
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()


def non_saturating_generator(*, fake_logits: Tensor) -> Tensor:
    """-log D(G(z)): the modified minimax loss; its gradient is large where D rejects fakes (1406.2661, section 3)."""
    return softplus(-fake_logits).mean()


def minimax_generator(*, fake_logits: Tensor) -> Tensor:
    """log(1 - D(G(z))): the zero-sum game; its gradient vanishes where D rejects the fakes (1406.2661, equation 1)."""
    return -softplus(fake_logits).mean()


def wasserstein_discriminator(*, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """D(G(z)) - D(x): the negated estimate of the Wasserstein-1 distance (1701.07875, equation 2)."""
    return fake_logits.mean() - real_logits.mean()


def mean_generator(*, fake_logits: Tensor) -> Tensor:
    """-D(G(z)): the generator loss of both the Wasserstein and the hinge loss."""
    return -fake_logits.mean()


def hinge_discriminator(*, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """max(0, 1 - D(x)) + max(0, 1 + D(G(z))) (1705.02894, equation 13; 1802.05957, equation 16)."""
    return relu(1 - real_logits).mean() + relu(1 + fake_logits).mean()


def least_squares_discriminator(*, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """1/2 (D(x) - 1)^2 + 1/2 D(G(z))^2 (1611.04076, equation 9: real 1, fake 0)."""
    return 0.5 * (real_logits - 1).square().mean() + 0.5 * fake_logits.square().mean()


def least_squares_generator(*, fake_logits: Tensor) -> Tensor:
    """1/2 (D(G(z)) - 1)^2 (1611.04076, equation 9)."""
    return 0.5 * (fake_logits - 1).square().mean()


def relativistic_discriminator(*, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-log sigmoid(D(x) - D(G(z))), one real sample x for each fake (1807.00734, section 4.1; 2501.05441)."""
    return softplus(fake_logits - real_logits).mean()


def relativistic_generator(*, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-log sigmoid(D(G(z)) - D(x)): non-saturating, as in the code of 2501.05441."""
    return softplus(real_logits - fake_logits).mean()


LOSSES = {
    "non_saturating": Loss(cross_entropy_discriminator, non_saturating_generator),
    "minimax": Loss(cross_entropy_discriminator, minimax_generator, zero_sum=True),
    "wasserstein": Loss(wasserstein_discriminator, mean_generator, zero_sum=True, boundary=None),
    "hinge": Loss(hinge_discriminator, mean_generator),
    "least_squares": Loss(least_squares_discriminator, least_squares_generator, boundary=0.5),
    "relativistic": Loss(relativistic_discriminator, relativistic_generator, paired=True, boundary=None),
}
