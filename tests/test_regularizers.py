"""Penalties where the answer is known: linear and quadratic discriminators."""

import pytest
import torch
from torch import Tensor, nn

from gan_cli.regularizers import (
    PENALTIES,
    WEIGHT_RULES,
    PenaltyInputs,
    clip_weights,
    gradient_penalty,
    r1_penalty,
    squared_gradient_norm,
)


class Linear(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, sample: Tensor, condition: Tensor | None = None) -> Tensor:
        return sample.flatten(1) @ self.weight


class Quadratic(nn.Module):
    """D(x) = a/2 |x|^2, whose gradient is a x."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale, dtype=torch.float64))

    def forward(self, sample: Tensor, condition: Tensor | None = None) -> Tensor:
        return 0.5 * self.scale * sample.flatten(1).square().sum(1)


def inputs(discriminator: nn.Module, real: Tensor, fake: Tensor) -> PenaltyInputs:
    return PenaltyInputs(discriminator, real, fake, None, torch.Generator().manual_seed(0))


KNOWN_ON_SLOPE_5 = {"r1": 12.5, "r2": 12.5, "gradient_penalty": 16, "dragan": 16, "zero_centered": 25}


@pytest.mark.parametrize("shape", [(8, 3), (8, 1, 3, 1)])
def test_linear_discriminator(shape: tuple[int, ...]) -> None:
    weight = torch.tensor([3.0, 0.0, 4.0])
    given = inputs(Linear(weight), torch.randn(shape), torch.randn(shape))
    for name, value in KNOWN_ON_SLOPE_5.items():
        assert PENALTIES[name](given).item() == pytest.approx(value, rel=1e-5), name
    assert KNOWN_ON_SLOPE_5.keys() == PENALTIES.keys()


def test_quadratic_discriminator() -> None:
    real = torch.tensor([[1.0, 2.0], [0.0, 2.0]], dtype=torch.float64)
    fake = real.clone()  # so that every point between them is the point itself
    given = inputs(Quadratic(3.0), real, fake)
    assert r1_penalty(given).item() == pytest.approx(0.5 * 9 * (5 + 4) / 2)
    assert gradient_penalty(given).item() == pytest.approx(((3 * 5**0.5 - 1) ** 2 + (6 - 1) ** 2) / 2)


def test_r2_looks_at_fakes_and_zero_centered_between() -> None:
    """With D(x) = x^2/2 the gradient is the point's own place."""
    real, fake = torch.full((4000, 1), 3.0, dtype=torch.float64), torch.full((4000, 1), 1.0, dtype=torch.float64)
    given = inputs(Quadratic(1.0), real, fake)
    assert PENALTIES["r1"](given).item() == pytest.approx(0.5 * 9)
    assert PENALTIES["r2"](given).item() == pytest.approx(0.5 * 1)
    assert PENALTIES["zero_centered"](given).item() == pytest.approx(13 / 3, rel=0.05)  # the mean of u^2 on [1, 3]


def test_dragan_looks_around_real_samples() -> None:
    """Half the batch's standard deviation to either side, at most."""
    seen: list[Tensor] = []

    class Watch(nn.Module):
        def forward(self, sample: Tensor, condition: Tensor | None) -> Tensor:
            seen.append(sample.detach())
            return sample.sum(1)

    real = torch.randn(4000, 1, dtype=torch.float64)
    PENALTIES["dragan"](inputs(Watch(), real, torch.full((4000, 1), 99.0, dtype=torch.float64)))
    moved = (seen[0] - real) / (0.5 * real.std())
    assert moved.abs().max() <= 1
    assert moved.mean().item() == pytest.approx(0, abs=0.03)
    assert moved.square().mean().item() == pytest.approx(1 / 9, rel=0.1)  # E a^2 E u^2, a on [0, 1], u on [-1, 1]


def test_gradient_penalty_looks_between_real_and_fake() -> None:
    """With D(x) = x^2/2 the gradient norm is the point's own place, so the penalty tells where it looked."""
    real, fake = torch.full((4000, 1), 3.0, dtype=torch.float64), torch.full((4000, 1), 1.0, dtype=torch.float64)
    value = gradient_penalty(inputs(Quadratic(1.0), real, fake)).item()
    assert value == pytest.approx(4 / 3, rel=0.05)  # the mean of (u - 1)^2, u uniform on [1, 3]


def test_gradient_penalty_has_a_finite_slope_where_the_gradient_is_zero() -> None:
    discriminator = Linear(torch.zeros(2))
    gradient_penalty(inputs(discriminator, torch.randn(4, 2), torch.randn(4, 2))).backward()
    assert discriminator.weight.grad is not None
    assert discriminator.weight.grad.isfinite().all()


@pytest.mark.parametrize("name", PENALTIES)
def test_the_gradient_reaches_d_and_never_g(name: str) -> None:
    generator, discriminator = nn.Linear(2, 2), Linear(torch.ones(2))
    fake = generator(torch.randn(4, 2)).detach()
    PENALTIES[name](inputs(discriminator, torch.randn(4, 2), fake)).backward()
    assert discriminator.weight.grad is not None
    assert discriminator.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in generator.parameters())


def test_second_order_gradients_are_right() -> None:
    first = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    second = torch.randn(3, dtype=torch.float64, requires_grad=True)
    real = torch.randn(4, 2, dtype=torch.float64)

    def penalty(first: Tensor, second: Tensor) -> Tensor:
        class Net(nn.Module):
            def forward(self, sample: Tensor, condition: Tensor | None) -> Tensor:
                return torch.tanh(sample @ first) @ second

        return squared_gradient_norm(Net(), real, None).mean()

    assert torch.autograd.gradcheck(penalty, (first, second))
    assert torch.autograd.gradgradcheck(penalty, (first, second))


def test_weight_clip_clamps_every_weight() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    clip_weights(network, 0.01)
    assert max(parameter.abs().max().item() for parameter in network.parameters()) == pytest.approx(0.01)
    assert WEIGHT_RULES["weight_clip"] is clip_weights
