"""Losses by known numbers, in value, gradient and direction."""

import pytest
import torch

from gan_cli.objectives.losses import LOSSES

REAL = torch.tensor([-5.0, 1.4, 12.5, 2.7])
FAKE = torch.tensor([10.0, 4.4, -5.5, 3.6])
# Worked out by hand from the formulas: (D, G).
KNOWN = {
    "non_saturating": (5.83387, 1.38582),
    "minimax": (5.83387, -4.51082),
    "hinge": (6.75, -3.125),
    "wasserstein": (0.225, -3.125),
    "least_squares": (41.73375, 17.69625),
    "relativistic": (4.82244, 4.59744),
}


def both(name: str, real: torch.Tensor, fake: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    loss = LOSSES[name]
    judged = {"real_logits": real} if loss.paired else {}
    return loss.discriminator(real_logits=real, fake_logits=fake), loss.generator(fake_logits=fake, **judged)


def test_every_loss_has_its_known_numbers() -> None:
    assert KNOWN.keys() == LOSSES.keys()


@pytest.mark.parametrize("name", LOSSES)
def test_values(name: str) -> None:
    d_loss, g_loss = both(name, REAL, FAKE)
    assert d_loss.item() == pytest.approx(KNOWN[name][0], abs=1e-5)
    assert g_loss.item() == pytest.approx(KNOWN[name][1], abs=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_values_do_not_depend_on_the_order_within_a_batch(name: str) -> None:
    order = torch.tensor([2, 0, 3, 1])
    fakes_order = order if LOSSES[name].paired else order.flip(0)
    for one, other in zip(both(name, REAL, FAKE), both(name, REAL[order], FAKE[fakes_order]), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("size", [0.0, 1e4, -1e4])
def test_values_and_gradients_stay_finite_at_extreme_logits(name: str, size: float) -> None:
    real = torch.tensor([size, -size], requires_grad=True)
    fake = torch.tensor([size, -size], requires_grad=True)
    for value in both(name, real, fake):
        assert value.isfinite()
        gradients = torch.autograd.grad(value, (real, fake), retain_graph=True, allow_unused=True)
        assert all(gradient.isfinite().all() for gradient in gradients if gradient is not None)


@pytest.mark.parametrize("name", LOSSES)
def test_d_wants_real_up_and_fake_down_and_g_wants_fake_up(name: str) -> None:
    real, fake = (torch.full((4,), 0.5, requires_grad=True) for _ in range(2))
    d_loss, g_loss = both(name, real, fake)
    to_real, to_fake = torch.autograd.grad(d_loss, (real, fake))
    (g_to_fake,) = torch.autograd.grad(g_loss, fake)
    assert (to_real < 0).all()
    assert (to_fake > 0).all()
    assert (g_to_fake < 0).all()


def test_only_the_non_saturating_generator_learns_where_d_is_sure() -> None:
    fake = torch.tensor([-30.0], requires_grad=True)
    steep = torch.autograd.grad(LOSSES["non_saturating"].generator(fake_logits=fake), fake)[0]
    flat = torch.autograd.grad(LOSSES["minimax"].generator(fake_logits=fake), fake)[0]
    assert steep.item() == pytest.approx(-1, abs=1e-6)
    assert abs(flat.item()) < 1e-12
