"""FastGAN: gates, noise that is constant in evaluation, logits of parts, and decoders whose targets are known."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

from gan_cli.data.load_dataset import build_batches, build_dataset, with_classes
from gan_cli.models.conditioning import ConditioningSpec
from gan_cli.models.layers import BATCH_STATISTICS, Discriminator
from gan_cli.models.networks.fastgan import (
    FastGANDiscriminator,
    FastGANGenerator,
    SkipLayerExcitation,
    quarter_of,
)
from gan_cli.models.noise import NoiseInput
from gan_cli.objectives.regularizers import PENALTIES, PenaltyInputs
from gan_cli.state.train_state import build_state
from gan_cli.training.objective import build_objective
from gan_cli.training.steps import discriminator_step
from support.configs import TINY_IMAGES, compose

SMALL = {"base_channels": 4, "max_multiplier": 4, "normalization": "batch"}


def discriminator_with_decoders(side: int, **settings: object) -> FastGANDiscriminator:
    discriminator = FastGANDiscriminator((3, side, side), **SMALL | settings)  # type: ignore[arg-type]
    discriminator.add_decoders()
    return discriminator


def reconstruct(discriminator: nn.Module, real: torch.Tensor) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return PENALTIES["reconstruction"](PenaltyInputs(discriminator, real, real, None, random))


def test_noise_is_new_in_training_and_constant_in_evaluation() -> None:
    layer, maps = NoiseInput(3, 5), torch.zeros(2, 4, 3, 5)
    assert torch.equal(layer(maps), maps)  # the strength starts at 0
    nn.init.constant_(layer.strength, 0.5)
    first, second = layer(maps), layer(maps)
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    assert torch.equal(first[:, :1].expand_as(first), first)  # the same for all channels
    layer.eval()
    assert torch.equal(layer(maps), (0.5 * layer.constant).expand(2, 4, 3, 5))
    assert layer(maps.bfloat16()).dtype == torch.bfloat16
    assert "constant" in layer.state_dict()


def test_a_gate_is_that_of_the_formula() -> None:
    gate = SkipLayerExcitation(2, 3, initialization="default", normalization="none")
    coarse = torch.randn(5, 2, 8, 8)
    _, first, _, second, _ = gate.layers
    pooled = coarse.unflatten(3, (4, 2)).unflatten(2, (4, 2)).mean((3, 5))
    hidden = torch.einsum("nchw,ochw->no", pooled, first.weight) + first.bias
    hidden = hidden * torch.sigmoid(hidden)
    expected = torch.sigmoid(hidden @ second.weight[:, :, 0, 0].T + second.bias)
    torch.testing.assert_close(gate(coarse)[:, :, 0, 0], expected)


@pytest.mark.parametrize(
    ("side", "gates", "factor"), [(8, 1, 2), (16, 1, 4), (32, 1, 8), (64, 1, 16), (128, 2, 16), (256, 3, 16)]
)
def test_coarse_maps_gate_fine_ones(side: int, gates: int, factor: int) -> None:
    generator = FastGANGenerator((3, side, side), latent_dim=5, **SMALL)
    assert len(generator.gates) == gates
    assert 2**generator.gated_levels == factor
    closed = generator.gates[-1].layers[3]
    nn.init.zeros_(closed.weight)
    nn.init.constant_(closed.bias, -1000.0)
    images = generator(torch.randn(2, 5))
    assert images.flatten(2).std(2).max() < 1e-6  # nothing of the last map passes a closed gate


def test_latents_are_scaled_to_the_sphere() -> None:
    generator = FastGANGenerator((3, 16, 16), latent_dim=5, **SMALL).eval()
    latent = torch.randn(3, 5)
    torch.testing.assert_close(generator(latent), generator(7 * latent))
    assert not torch.allclose(generator(latent), generator(-latent))


@pytest.mark.parametrize(
    ("sides", "positions"),
    [((8, 8), (1, 1)), ((16, 16), (5, 5)), ((20, 20), (7, 7)), ((24, 28), (3, 4)), ((64, 128), (5, 13))],
)
def test_logits_are_of_parts_of_an_image(sides: tuple[int, int], positions: tuple[int, int]) -> None:
    """One for each window of 4 x 4 of the maps, which are 8 x 8 for 64 x 64 pixels and 6 x 7 for 24 x 28."""
    discriminator = FastGANDiscriminator((3, *sides), **SMALL | {"normalization": "none"})
    images = torch.randn(2, 3, *sides)
    logits, maps = discriminator(images), discriminator.features(images, None)
    assert logits.shape == (2, *positions)
    windows = maps.unfold(2, 4, 1).unfold(3, 4, 1)
    torch.testing.assert_close(logits, torch.einsum("nchwij,ocij->nhw", windows, discriminator.score.weight))
    changed = images.clone()
    changed[..., -1, -1] += 100
    differs = discriminator(changed) != logits
    assert differs[:, -1, -1].all()
    if sides[0] == 64:  # of which 51 are seen from the first window
        assert not differs[:, 0, 0].any()


@pytest.mark.parametrize("mode", ["projection", "acgan", "tags"])
def test_classes_are_judged_at_each_position(mode: str) -> None:
    conditions = ConditioningSpec(mode, 3, 5)
    discriminator = FastGANDiscriminator((3, 16, 16), conditions=conditions, **SMALL | {"normalization": "none"})
    images, labels = torch.randn(2, 3, 16, 16), torch.eye(3)[[0, 2]]
    output = discriminator.discriminate(images, labels)
    maps = discriminator.features(images, labels)
    by_class = torch.conv2d(maps, discriminator.classes.weight, discriminator.classes.bias)
    alone = discriminator.score(maps)[:, 0]
    if mode == "projection":
        assert output.class_logits is None
        torch.testing.assert_close(output.logits, alone + by_class[[0, 1], [0, 2]])
    else:
        torch.testing.assert_close(output.logits, alone)
        torch.testing.assert_close(output.class_logits, by_class.flatten(2).mean(2))


@pytest.mark.parametrize("minibatch", ["stddev", "deviations", "discrimination"])
def test_statistics_of_the_batch_are_the_same_at_each_position(minibatch: str) -> None:
    discriminator = FastGANDiscriminator((3, 16, 16), minibatch=minibatch, **SMALL | {"normalization": "none"})
    alike = torch.randn(1, 3, 16, 16).expand(4, -1, -1, -1)
    different = torch.cat([alike[:1], torch.randn(3, 3, 16, 16)])
    maps = discriminator.features(different, None)
    added = maps[:, discriminator.last[0].out_channels :]
    assert added.shape[1] == discriminator.get_submodule(BATCH_STATISTICS).added_features
    assert torch.equal(added, added[:, :, :1, :1].expand_as(added))
    assert not torch.isclose(discriminator(alike)[0], discriminator(different)[0]).any()
    assert not discriminator.can_concatenate_real_and_fake(4)


def convolutions_of(*networks: nn.Module) -> list[nn.Module]:
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    return [module for network in networks for module in network.modules() if isinstance(module, kinds)]


def test_all_convolutions_can_have_a_spectral_norm_of_one_beside_batch_norm() -> None:
    conditions = ConditioningSpec("projection", 2, 3)
    pairs = []
    for spectral in (True, False):
        discriminator = discriminator_with_decoders(32, spectral=spectral, conditions=conditions)
        pairs.append((FastGANGenerator((3, 32, 32), latent_dim=5, spectral=spectral, **SMALL), discriminator))
    for convolution in convolutions_of(*pairs[0]):
        dimension = 1 if isinstance(convolution, nn.ConvTranspose2d) else 0  # of the outputs
        for _ in range(100):  # each call moves the vectors
            weight = convolution.weight
        largest = torch.linalg.matrix_norm(weight.detach().transpose(0, dimension).flatten(1), 2)
        assert largest.item() == pytest.approx(1, rel=1e-2)
    assert len(convolutions_of(*pairs[0])) == len(convolutions_of(*pairs[1])) == 18
    for network, plain in zip(*pairs, strict=True):
        assert not any("parametrizations" in name for name in plain.state_dict())
        normalized = [[name for name, module in each.named_modules() if isinstance(module, nn.BatchNorm2d)]
                      for each in (network, plain)]  # fmt: skip
        assert normalized[0] == normalized[1] != []


def test_every_parameter_gets_a_gradient() -> None:
    generator = FastGANGenerator((3, 32, 32), latent_dim=5, **SMALL)
    discriminator = discriminator_with_decoders(32)
    real = torch.rand(4, 3, 32, 32) * 2 - 1
    (discriminator(generator(torch.randn(4, 5))).square().sum() + reconstruct(discriminator, real)).backward()
    for network in (generator, discriminator):
        dead = [
            name
            for name, parameter in network.named_parameters()
            if parameter.grad is None or parameter.grad.abs().sum() == 0
        ]
        assert dead == []


def test_without_decoders_weights_are_the_same() -> None:
    torch.manual_seed(0)
    plain = FastGANDiscriminator((3, 32, 32), **SMALL)
    torch.manual_seed(0)
    decoding = discriminator_with_decoders(32)
    assert len(decoding.state_dict()) > len(plain.state_dict())
    assert all(torch.equal(decoding.state_dict()[name], value) for name, value in plain.state_dict().items())


@pytest.mark.parametrize("side", [16, 28, 30, 32, 64, 128])
def test_decoders_reconstruct_half_of_the_sides(side: int) -> None:
    discriminator = discriminator_with_decoders(side)
    shapes = []
    for name in ("whole", "quarter"):
        discriminator.get_submodule(name).register_forward_hook(lambda *given: shapes.append(tuple(given[2].shape)))
    reconstruct(discriminator, torch.rand(2, 3, side, side))
    inner = discriminator.inner_sides[0]
    assert shapes == [(2, 3, inner // 2, inner // 2)] * 2


def test_a_reconstruction_is_compared_with_the_image_it_is_of() -> None:
    """The decoders are replaced by constants, so the distances are known."""
    discriminator = discriminator_with_decoders(32)
    image = torch.zeros(4, 3, 32, 32)
    image[:, :, :16, :16], image[:, :, 16:, 16:] = 0.5, -1.0
    discriminator.whole = Constant(0.25)
    discriminator.quarter = Constant(0.0)
    rows, columns = torch.randint(2, (2, 4), generator=torch.Generator().manual_seed(0))
    quarters = [
        {(0, 0): 0.5, (1, 1): 1.0}.get((row, column), 0.0)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
    ]
    expected = (0.25 + 0.25 + 0.25 + 1.25) / 4 + sum(quarters) / 4
    assert reconstruct(discriminator, image).item() == pytest.approx(expected)


class Constant(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.full((len(maps), 3, 16, 16), self.value)


def test_quarters() -> None:
    maps = torch.arange(2 * 16.0).view(2, 1, 4, 4)
    chosen = quarter_of(maps, torch.tensor([0, 1]), torch.tensor([1, 0]))
    assert torch.equal(chosen, torch.stack([maps[0, :, :2, 2:], maps[1, :, 2:, :2]]))


def test_only_fastgan_has_decoders() -> None:
    assert not hasattr(Discriminator, "add_decoders")


@pytest.mark.parametrize("normalization", ["batch", "none", "layer", "spectral", "batch and spectral"])
@pytest.mark.parametrize("more", [(), ("training.accumulate=2", "conditioning=concat"), ("training.pack=2",)])
def test_maps_of_d_s_pass_give_the_gradients_of_a_pass_of_their_own(
    monkeypatch: pytest.MonkeyPatch, normalization: str, more: tuple[str, ...]
) -> None:
    """One pass less for each part of a batch. The vectors of spectral norms, which each pass moves, have settled."""
    outcomes, passes = [], []
    for reused in (False, True):
        config = compose(
            *TINY_IMAGES, "architecture=fastgan", "regularizer=reconstruction", "precision=fp32",
            f"architecture.discriminator.normalization={normalization.split()[0]}",
            f"architecture.discriminator.spectral={'and' in normalization}".lower(), *more,
        )  # fmt: skip
        dataset = build_dataset(config.dataset, config.image_size)
        config = with_classes(config, dataset)
        state = build_state(config, torch.device("cpu"))
        for convolution in convolutions_of(state.discriminator):
            for _ in range(300):
                _ = convolution.weight
        if not reused:
            monkeypatch.setattr(state.discriminator, "keeping_maps", lambda: contextlib.nullcontext(None))
        calls: list[int] = []
        state.discriminator.blocks[0].register_forward_hook(lambda *_, calls=calls: calls.append(1))
        batches = build_batches(config, dataset, state.device)
        output = discriminator_step(state, build_objective(config, batches), batches)
        passes.append(len(calls))
        outcomes.append((output.penalties, [value.grad for value in state.discriminator.parameters()]))
    torch.testing.assert_close(outcomes[1], outcomes[0], rtol=1e-4, atol=1e-5)
    assert outcomes[0][0]["reconstruction"] > 0
    assert passes[0] - passes[1] == config.training.accumulate


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_a_pass_in_half_precision_keeps_no_maps_for_a_penalty_in_fp32(precision: str, dtype: torch.dtype) -> None:
    config = compose(*TINY_IMAGES, "architecture=fastgan", "regularizer=reconstruction", f"precision={precision}")
    state = build_state(config, torch.device("cpu"))
    batches = build_batches(config, build_dataset(config.dataset, config.image_size), state.device)
    calls: list[torch.dtype] = []
    state.discriminator.blocks[0].register_forward_hook(lambda *values: calls.append(values[2].dtype))
    discriminator_step(state, build_objective(config, batches), batches)
    assert calls[-1] == torch.float32
    assert {*calls[:-1]} == {dtype}
