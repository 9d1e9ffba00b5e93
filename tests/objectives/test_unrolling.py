"""Looking ahead: the updates are torch's, G's gradient is the true one, and D and its optimizer keep every byte."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import Optimizer

from gan_cli.models.freezing import frozen
from gan_cli.models.registry import DISCRIMINATORS
from gan_cli.objectives import unrolling
from gan_cli.objectives.losses import LOSSES
from gan_cli.objectives.unrolling import optimizer_state_of, unrolled_parameters, updated, with_parameters
from gan_cli.state.optimizers import build_optimizer

RULES: dict[str, tuple[str, dict[str, float]]] = {
    "adam": ("adam", {"beta1": 0.5, "beta2": 0.9, "eps": 1e-8}),
    "adam of WGAN-GP": ("adam", {"beta1": 0.0, "beta2": 0.9, "eps": 1e-8}),
    "adamw": ("adamw", {"beta1": 0.5, "beta2": 0.999, "eps": 1e-6, "weight_decay": 0.1}),
    "rmsprop": ("rmsprop", {"alpha": 0.9, "eps": 1e-8}),
    "sgd": ("sgd", {"momentum": 0.9}),
    "sgd without momentum": ("sgd", {"momentum": 0.0}),
}
RATES = {"adam": 0.05, "adamw": 0.05, "rmsprop": 0.05, "sgd": 0.3}  # large enough for D to move in a few updates
LOSS = LOSSES["non_saturating"]
every_rule = pytest.mark.parametrize(("rule", "settings"), RULES.values(), ids=RULES)


class SmoothDiscriminator(nn.Module):
    """Points `[N, 2]` to logits `[N]`, smooth everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3), nn.Softplus(), nn.Linear(3, 1))

    def forward(self, sample: Tensor, condition: Tensor | None = None) -> Tensor:
        logits = self.layers(sample).squeeze(1)
        return logits if condition is None else logits + condition


class Game:
    """Two networks in float64, a real batch, latents, and D's optimizer after `warm` updates on other batches."""

    def __init__(
        self,
        rule: str,
        settings: dict[str, float],
        *,
        discriminator: Callable[[], nn.Module] = SmoothDiscriminator,
        shape: tuple[int, ...] = (2,),
        warm: int = 4,
        lr: float | None = None,
    ) -> None:
        torch.manual_seed(0)
        size = torch.Size(shape).numel()
        self.G: nn.Module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, size), nn.Unflatten(1, shape))
        self.G = self.G.double()
        self.D = discriminator().double()
        self.rule, self.settings, self.lr = rule, settings, RATES[rule] if lr is None else lr
        self.optimizer = build_optimizer(self.D, name=rule, lr=self.lr, **settings)
        for _ in range(warm):
            self.real, self.latent = torch.randn(6, *shape).double() + 1, torch.randn(6, 3).double()
            self.update(self.D, self.optimizer)
        self.real, self.latent = torch.randn(6, *shape).double() + 1, torch.randn(6, 3).double()

    def update(self, discriminator: nn.Module, optimizer: Optimizer) -> None:
        """An ordinary update of D."""
        optimizer.zero_grad()
        fake = self.G(self.latent).detach()
        LOSS.discriminator(real_logits=discriminator(self.real), fake_logits=discriminator(fake)).backward()
        optimizer.step()

    def look_ahead(self, fake: Tensor, steps: int) -> dict[str, Tensor]:
        return unrolled_parameters(
            self.D,
            lambda call: LOSS.discriminator(real_logits=call(self.real), fake_logits=call(fake)),
            optimizer_state_of(self.optimizer, self.D),
            steps,
            name=self.rule,
            lr=self.lr,
            **self.settings,
        )

    def loss(self, steps: int, *, first_order: bool = False) -> Tensor:
        """G's loss as D judges the fakes after so many updates."""
        fake = self.G(self.latent)
        parameters = self.look_ahead(fake, steps)
        if first_order:
            parameters = {name: parameter.detach() for name, parameter in parameters.items()}
        with frozen(self.D):
            return LOSS.generator(fake_logits=with_parameters(self.D, parameters)(fake))

    def slope(self, loss: Tensor) -> Tensor:
        """G's gradient, all of it in a row."""
        self.G.zero_grad()
        loss.backward()
        return torch.cat([parameter.grad.flatten() for parameter in self.G.parameters() if parameter.grad is not None])


def bytes_of(game: Game) -> dict[str, Any]:
    """Copies of everything that D and its optimizer hold."""
    held = game.optimizer.state_dict()
    return copy.deepcopy(
        {
            "weights": game.D.state_dict(),
            "gradients": [parameter.grad for parameter in game.D.parameters()],
            "learning": [parameter.requires_grad for parameter in game.D.parameters()],
            "training": [module.training for module in game.D.modules()],
            "memory": held["state"],
            "settings": held["param_groups"],
        }
    )


def assert_same(one: Any, other: Any) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("warm", [0, 3])
@every_rule
def test_the_updates_are_those_of_torch(rule: str, settings: dict[str, float], warm: int) -> None:
    torch.manual_seed(0)
    network = nn.Linear(3, 2).double()
    optimizer = build_optimizer(network, name=rule, lr=0.1, **settings)

    def draw(count: int) -> dict[str, Tensor]:
        gradients = {name: torch.randn_like(parameter) for name, parameter in network.named_parameters()}
        gradients["weight"][0, 0] = 0  # never moves
        if count < 1:
            del gradients["bias"]  # which then starts later than the weight
        return gradients

    def apply(gradients: dict[str, Tensor]) -> None:
        for name, parameter in network.named_parameters():
            parameter.grad = gradients.get(name)
        optimizer.step()

    for count in range(warm):
        apply(draw(count))
    parameters = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    memory = optimizer_state_of(optimizer, network)
    assert bool(memory) == (warm > 0 and settings.get("momentum") != 0)
    for count in range(warm, warm + 5):
        gradients = draw(count)
        apply(gradients)
        parameters, memory = updated(rule, parameters, gradients, memory, lr=0.1, **settings)
        expected = {name: parameter.detach() for name, parameter in network.named_parameters()}
        torch.testing.assert_close(parameters, expected, rtol=0, atol=1e-10)
    kept = {name: slots for name, slots in memory.items() if slots}
    torch.testing.assert_close(kept, optimizer_state_of(optimizer, network), rtol=0, atol=1e-10)


@pytest.mark.parametrize("warm", [0, 4])
@every_rule
def test_the_gradient_is_that_of_finite_differences(rule: str, settings: dict[str, float], warm: int) -> None:
    game = Game(rule, settings, warm=warm)
    exact = game.slope(game.loss(3))
    differences = []
    for parameter in game.G.parameters():
        flat = parameter.data.view(-1)
        for place in range(len(flat)):
            kept, losses = flat[place].item(), []
            for shift in (1e-5, -1e-5):
                flat[place] = kept + shift
                losses.append(game.loss(3).item())
            flat[place] = kept
            differences.append((losses[0] - losses[1]) / 2e-5)
    expected = torch.tensor(differences, dtype=torch.float64)
    assert len(expected) == 26
    assert ((exact - expected).abs() / expected.abs()).max() < 1e-5


@every_rule
def test_the_second_order_counts(rule: str, settings: dict[str, float]) -> None:
    game = Game(rule, settings)
    first_order = game.slope(game.loss(3, first_order=True))
    assert (game.slope(game.loss(3)) - first_order).norm() > 0.05 * first_order.norm()


@pytest.mark.parametrize("normalization", ["none", "batch", "layer", "spectral"])
def test_no_update_is_the_ordinary_gradient(normalization: str) -> None:
    game = Game(*RULES["adam"], discriminator=lambda: DISCRIMINATORS["mlp"]((2,), 8, 2, normalization))
    with frozen(game.D):
        ordinary = game.slope(LOSS.generator(fake_logits=game.D(game.G(game.latent))))
    assert torch.equal(game.slope(game.loss(0)), ordinary)
    assert not torch.equal(game.slope(game.loss(1)), ordinary)


MODELS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    **{
        f"mlp {normalization}": ((2,), {"name": "mlp", "width": 8, "depth": 2, "normalization": normalization})
        for normalization in ("none", "batch", "layer", "spectral")
    },
    **{
        f"dcgan {normalization}": ((1, 16, 16), {"name": "dcgan", "base_channels": 2, "normalization": normalization})
        for normalization in ("none", "batch", "layer", "instance", "spectral")
    },
    "resnet": (
        (1, 16, 16),
        {"name": "resnet", "base_channels": 2, "max_multiplier": 1, "normalization": "spectral", "attention": 8},
    ),
}


@pytest.mark.parametrize("warm", [0, 2])
@pytest.mark.parametrize("model", MODELS)
def test_every_discriminator_goes_where_it_would_go_and_keeps_every_byte(model: str, warm: int) -> None:
    shape, options = MODELS[model]

    def build() -> nn.Module:
        settings = dict(options)
        return DISCRIMINATORS[settings.pop("name")](shape, **settings)

    rule, settings = RULES["adam"]
    game = Game(rule, settings, discriminator=build, shape=shape, warm=warm, lr=1e-3)
    before = bytes_of(game)
    fake = game.G(game.latent)
    parameters = game.look_ahead(fake, 3)
    loss = LOSS.generator(fake_logits=with_parameters(game.D, parameters)(fake))
    slope = game.slope(loss)
    assert slope.isfinite().all()
    assert slope.norm() > 0
    assert_same(bytes_of(game), before)

    really = copy.deepcopy(game.D)
    optimizer = build_optimizer(really, name=rule, lr=1e-3, **settings)
    optimizer.load_state_dict(game.optimizer.state_dict())
    for _ in range(3):
        game.update(really, optimizer)
    torch.testing.assert_close(
        {name: parameter.detach() for name, parameter in parameters.items()},
        {name: parameter.detach() for name, parameter in really.named_parameters()},
        rtol=0,
        atol=1e-10,
    )


@every_rule
def test_the_optimizer_keeps_every_byte(rule: str, settings: dict[str, float]) -> None:
    game = Game(rule, settings)
    before = bytes_of(game)
    assert before["gradients"][0] is not None
    game.slope(game.loss(3))
    assert_same(bytes_of(game), before)


def test_d_may_learn_before_g_does() -> None:
    game = Game(*RULES["adam"])
    expected = game.slope(game.loss(3))
    loss = game.loss(3)
    game.update(game.D, game.optimizer)
    assert torch.equal(game.slope(loss), expected)


class DeadUnits(nn.Module):
    """The first two of its hidden units never fire."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.score = nn.Linear(2, 6), nn.Linear(6, 1)
        nn.init.constant_(self.hidden.bias[:2], -1000.0)

    def forward(self, sample: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.score(torch.relu(self.hidden(sample))).squeeze(1)


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@pytest.mark.parametrize("warm", [0, 2])
@every_rule
def test_gradients_of_zero_make_no_nan(
    rule: str, settings: dict[str, float], warm: int, precision: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = Game(rule, settings, discriminator=DeadUnits, warm=warm, lr=1e-3)
    for network in (game.G, game.D):
        network.to(precision)
    game.real, game.latent = game.real.to(precision), game.latent.to(precision)
    for held in game.optimizer.state.values():
        held.update({slot: value.to(precision) for slot, value in held.items() if slot != "step" and value is not None})
    assert game.slope(game.loss(3)).isfinite().all()
    if rule != "sgd":
        monkeypatch.setattr(unrolling, "_root", torch.sqrt)
        assert game.slope(game.loss(3)).isnan().any()  # the units are dead indeed


def test_what_does_not_learn_stays() -> None:
    game = Game(*RULES["adamw"])
    game.D.layers[0].requires_grad_(False)
    before = bytes_of(game)
    fake = game.G(game.latent)
    parameters = game.look_ahead(fake, 2)
    for name, parameter in game.D.named_parameters():
        stays = name.startswith("layers.0.")
        assert (torch.equal(parameters[name], parameter), parameters[name].requires_grad) == (stays, not stays), name
    assert game.slope(LOSS.generator(fake_logits=with_parameters(game.D, parameters)(fake))).norm() > 0
    assert_same(bytes_of(game), before)

    game.D.requires_grad_(False)
    with pytest.raises(RuntimeError):
        game.look_ahead(fake, 1)


def test_what_the_loss_does_not_touch_stays() -> None:
    game = Game(*RULES["adamw"])
    game.D.spare = nn.Parameter(torch.ones(2))
    assert torch.equal(game.look_ahead(game.G(game.latent), 2)["spare"], torch.ones(2))


def test_calls_take_a_condition_and_record_where_they_are_told() -> None:
    discriminator = SmoothDiscriminator()
    parameters = {name: 2 * parameter.detach() for name, parameter in discriminator.named_parameters()}
    samples, condition = torch.randn(5, 2), torch.randn(5)
    expected = functional_call(discriminator, parameters, (samples,)) + condition
    assert torch.equal(with_parameters(discriminator, parameters)(samples, condition), expected)

    norm = DISCRIMINATORS["mlp"]((2,), 4, 1, "batch")
    buffers = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    with_parameters(norm, dict(norm.named_parameters()), buffers)(samples)
    counted = [name for name in buffers if name.endswith("num_batches_tracked")]
    assert [buffers[name].item() for name in counted] == [1]
    assert [dict(norm.named_buffers())[name].item() for name in counted] == [0]


def test_a_loss_may_hold_a_penalty() -> None:
    """Of third order: a penalty differentiates D once more."""
    game = Game(*RULES["adam"])

    def loss_of(call: unrolling.DiscriminatorCall) -> Tensor:
        real = game.real.clone().requires_grad_(True)
        (slope,) = torch.autograd.grad(call(real).sum(), real, create_graph=True)
        return call(fake).mean() - call(game.real).mean() + slope.square().sum()

    fake = game.G(game.latent)
    before = bytes_of(game)
    parameters = unrolled_parameters(game.D, loss_of, {}, 2, name="adam", lr=game.lr, **game.settings)
    assert game.slope(with_parameters(game.D, parameters)(fake).mean()).isfinite().all()
    assert_same(bytes_of(game), before)
