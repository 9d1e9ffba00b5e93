"""Penalties where the answer is known: linear and quadratic discriminators."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from gan_cli.objectives.regularizers import (
    PENALTIES,
    WEIGHT_CONSTRAINTS,
    PenaltyInputs,
    clip_weights,
    gradient_penalty,
    lecam_anchors,
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
OTHERS = {
    "js",
    "lecam",
    "consistency",
    "orthogonal",
    "reconstruction",
    "drift",
}  # each has a test of its own below, or of FastGAN


@pytest.mark.parametrize("shape", [(8, 3), (8, 1, 3, 1)])
def test_linear_discriminator(shape: tuple[int, ...]) -> None:
    weight = torch.tensor([3.0, 0.0, 4.0])
    given = inputs(Linear(weight), torch.randn(shape), torch.randn(shape))
    for name, value in KNOWN_ON_SLOPE_5.items():
        assert PENALTIES[name](given).item() == pytest.approx(value, rel=1e-5), name
    assert KNOWN_ON_SLOPE_5.keys() | OTHERS == PENALTIES.keys()


@pytest.mark.parametrize("name", [*KNOWN_ON_SLOPE_5, "js"])
def test_patches_count_as_their_mean(name: str) -> None:
    """D of 6 equal patches has the penalty of one of them."""

    class Patches(Linear):
        def forward(self, sample: Tensor, condition: Tensor | None = None) -> Tensor:
            return super().forward(sample)[:, None, None].expand(-1, 2, 3)

    weight, real, fake = torch.tensor([3.0, 0.0, 4.0]), torch.randn(8, 3), torch.randn(8, 3)
    one, patches = (PENALTIES[name](inputs(kind(weight), real, fake)) for kind in (Linear, Patches))
    assert patches.item() == pytest.approx(one.item(), rel=1e-5)


def test_slopes_of_1_are_in_the_pixels_that_d_averages_to_and_others_in_those_of_the_samples() -> None:
    """D's slope is 5 in averaged pixels of 4 x 4, and 5 / 4 in those of the samples."""

    class Averages(Linear):
        pixel_side = 4

        def forward(self, sample: Tensor, condition: Tensor | None = None) -> Tensor:
            return super().forward(avg_pool2d(sample, 4))

    given = inputs(Averages(torch.tensor([3.0, 0.0, 4.0, 0.0])), torch.randn(8, 1, 8, 8), torch.randn(8, 1, 8, 8))
    expected = {"gradient_penalty": 16, "dragan": 16, "r1": 12.5 / 16, "r2": 12.5 / 16, "zero_centered": 25 / 16}
    for name, value in expected.items():
        assert PENALTIES[name](given).item() == pytest.approx(value, rel=1e-5), name


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


@pytest.mark.parametrize("name", [*KNOWN_ON_SLOPE_5, "js"])
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
    assert WEIGHT_CONSTRAINTS["weight_clip"] is clip_weights


# --- penalties that look at more than slopes ---------------------------------------------------------------------


def test_js_weighs_each_slope_by_how_wrong_d_is() -> None:
    """D(x) = w x with w = 2: slope 4, and at x = 0 the sigmoid is 1/2 on both sides."""
    discriminator = Linear(torch.tensor([2.0]))
    zero = torch.zeros(4, 1)
    assert PENALTIES["js"](inputs(discriminator, zero, zero)).item() == pytest.approx(0.5 * (0.25 * 4 + 0.25 * 4))
    sure = PENALTIES["js"](inputs(discriminator, torch.full((4, 1), 20.0), torch.full((4, 1), -20.0)))
    assert sure.item() == pytest.approx(0, abs=1e-12)
    wrong = PENALTIES["js"](inputs(discriminator, torch.full((4, 1), -20.0), torch.full((4, 1), 20.0)))
    assert wrong.item() == pytest.approx(0.5 * (4 + 4))
    one = PENALTIES["js"](inputs(discriminator, torch.full((4, 1), 0.5), zero))
    assert one.item() == pytest.approx(0.5 * (torch.sigmoid(torch.tensor(-1.0)).item() ** 2 * 4 + 0.25 * 4))


def lecam_updates(state: dict[str, Tensor], real: list[float], fake: list[float], *, start: int = 0) -> float:
    """The penalty of these logits, whose anchors `state` then holds."""
    given = inputs(Linear(torch.ones(1)), torch.zeros(2, 1), torch.zeros(2, 1))
    logits = {"real_logits": torch.tensor(real), "fake_logits": torch.tensor(fake)}
    value = PENALTIES["lecam"](given._replace(**logits, penalty_state=state), decay=0.9, start=start)
    state |= lecam_anchors(state, **logits, decay=0.9)
    return value.item()


def test_lecam_anchors_each_side_at_the_average_of_the_other() -> None:
    state: dict[str, Tensor] = {}
    first = lecam_updates(state, [3.0, 1.0], [-1.0, -3.0])
    assert (state["real"].item(), state["fake"].item()) == (2.0, -2.0)
    assert first == pytest.approx((5**2 + 3**2) / 2 + (3**2 + 5**2) / 2)
    second = lecam_updates(state, [4.0, 4.0], [0.0, 0.0])
    assert state["real"].item() == pytest.approx(0.9 * 2 + 0.1 * 4)
    assert state["fake"].item() == pytest.approx(0.9 * -2)
    assert second == pytest.approx((4 + 1.8) ** 2 + 2.2**2)
    turned = lecam_updates(state, [-9.0, -9.0], [9.0, 9.0])
    assert turned == 0  # on the wrong side of the anchors nothing is pulled
    assert state["updates"].item() == 3
    early: dict[str, Tensor] = {}
    values = [lecam_updates(early, [3.0, 1.0], [-1.0, -3.0], start=2) for _ in range(3)]
    assert [value > 0 for value in values] == [False, False, True]


def test_consistency_is_zero_for_a_judge_that_does_not_look_and_known_for_one_that_does() -> None:
    class Blind(nn.Module):
        def forward(self, sample: Tensor, condition: Tensor | None) -> Tensor:
            return sample.new_full((len(sample),), 3.0)

    class LeftPixel(nn.Module):
        def forward(self, sample: Tensor, condition: Tensor | None) -> Tensor:
            return sample[:, 0, 0, 0]

    images = torch.zeros(400, 1, 2, 2)
    images[:, :, :, 0] = 1  # mirrored, the left pixel is 0; sides of two are not shifted
    for judge, value in ((Blind(), 0.0), (LeftPixel(), 1.0)):
        given = inputs(judge, images, images)
        given = given._replace(real_logits=judge(images, None), fake_logits=judge(images, None))
        assert PENALTIES["consistency"](given).item() == pytest.approx(value, abs=0.15)


def test_orthogonal_counts_how_alike_rows_are() -> None:
    network = nn.Linear(2, 2)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 5.0]]))
    given = inputs(network, torch.zeros(1, 2), torch.zeros(1, 2))
    assert PENALTIES["orthogonal"](given).item() == 0
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[1.0, 2.0], [2.0, 1.0]]))  # a product of 4, twice
    assert PENALTIES["orthogonal"](given).item() == pytest.approx(32)


def test_drift_is_the_mean_square_of_real_logits() -> None:
    given = inputs(nn.Linear(1, 1), torch.zeros(4, 1), torch.zeros(4, 1))
    logits = torch.tensor([1.0, -2.0, 3.0, 0.0], requires_grad=True)
    value = PENALTIES["drift"](given._replace(real_logits=logits, fake_logits=torch.full((4,), 99.0)))
    assert value.item() == (1 + 4 + 9) / 4
    value.backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [0.5, -1, 1.5, 0]
