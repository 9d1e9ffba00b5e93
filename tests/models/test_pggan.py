"""Networks that grow: what a level adds while it fades in, the layers of the paper, and any size of image."""

from __future__ import annotations

import math
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu

from gan_cli.models.conditioning import ConditioningSpec
from gan_cli.models.growing import GrowingNetwork
from gan_cli.models.layers import MinibatchStddev, PixelNorm
from gan_cli.models.networks.pggan import PGGANDiscriminator, PGGANGenerator
from gan_cli.objectives.regularizers import PenaltyInputs, gradient_penalty
from gan_cli.tasks.condition import Condition

Network = TypeVar("Network", bound=GrowingNetwork)
SMALL = {"base_channels": 4, "max_multiplier": 4, "grow": True}


def generator_of(*sides: int, channels: int = 3, **settings: object) -> PGGANGenerator:
    torch.manual_seed(0)
    return PGGANGenerator((channels, *sides), latent_dim=5, **SMALL | settings)  # type: ignore[arg-type]


def discriminator_of(*sides: int, channels: int = 3, **settings: object) -> PGGANDiscriminator:
    torch.manual_seed(1)
    return PGGANDiscriminator((channels, *sides), **SMALL | settings)  # type: ignore[arg-type]


def at(network: Network, growth: float) -> Network:
    network.set_growth(growth)
    return network


def repeated(images: Tensor, factor: int) -> Tensor:
    return images.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


def averaged(images: Tensor, factor: int) -> Tensor:
    return images.unflatten(3, (-1, factor)).unflatten(2, (-1, factor)).mean((3, 5))


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_level_begins_as_the_repeated_pixels_of_the_one_before(level: int) -> None:
    generator, latent = generator_of(32, 32), torch.randn(4, 5)
    before = at(generator, level - 1)(latent)
    beginning = at(generator, level - 1 + 2**-20)  # the smallest weights of the new level
    assert (beginning.level, beginning.fading) == (level, True)
    torch.testing.assert_close(beginning(latent), before, atol=1e-5, rtol=0)
    block = 2 ** (3 - level + 1)
    torch.testing.assert_close(before, repeated(averaged(before, block), block))
    assert before.std() > 0.1


@pytest.mark.parametrize("level", [1, 2, 3])
def test_between_two_levels_their_images_are_mixed(level: int) -> None:
    generator, latent = generator_of(32, 32), torch.randn(4, 5)
    coarse, fine = (at(generator, growth)(latent) for growth in (level - 1, level))
    torch.testing.assert_close(at(generator, level - 0.75)(latent), 0.75 * coarse + 0.25 * fine)
    torch.testing.assert_close(at(generator, level - 2**-20)(latent), fine, atol=1e-5, rtol=0)
    assert (fine - coarse).abs().max() > 0.1


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_discriminator_fades_in_with_faded_real_samples(level: int) -> None:
    discriminator, real = discriminator_of(32, 32), torch.randn(4, 3, 32, 32)
    before = at(discriminator, level - 1)(real)
    beginning = at(discriminator, level - 1 + 2**-20)
    torch.testing.assert_close(beginning(beginning.fade(real)), before, atol=1e-5, rtol=1e-5)
    grown = at(discriminator, level)(real)
    ending = at(discriminator, level - 2**-20)
    torch.testing.assert_close(ending(ending.fade(real)), grown, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(before, grown)


def test_real_samples_have_the_detail_of_fakes() -> None:
    network, real = generator_of(32, 32), torch.randn(2, 3, 32, 32)
    assert at(network, 3).fade(real) is real
    for level in range(3):
        factor = 2 ** (3 - level)
        torch.testing.assert_close(at(network, level).fade(real), repeated(averaged(real, factor), factor))
    expected = 0.7 * repeated(averaged(real, 4), 4) + 0.3 * repeated(averaged(real, 2), 2)
    torch.testing.assert_close(at(network, 1.3).fade(real), expected)
    odd = torch.randn(2, 3, 30, 17)
    assert at(generator_of(30, 17), 1.5).fade(odd).shape == odd.shape


@pytest.mark.parametrize(("growth", "side"), [(0.0, 8), (0.5, 4), (1.0, 4), (2.5, 1), (3.0, 1)])
def test_the_gradient_penalty_is_taken_in_pixels_of_the_level_in_use(growth: float, side: int) -> None:
    """Between two equal images lies the image itself. With edges repeated, D sees the averages alone."""
    discriminator = at(discriminator_of(32, 32), growth)
    assert discriminator.pixel_side == side
    images = torch.randn(2, 3, 32, 32)
    small = averaged(images, side).requires_grad_(True)
    (slope,) = torch.autograd.grad(discriminator(repeated(small, side)).sum(), small)
    given = PenaltyInputs(discriminator, images, images, None, torch.Generator())
    assert gradient_penalty(given).item() == pytest.approx(
        (slope.flatten(1).norm(dim=1) - 1).square().mean().item(), rel=1e-4
    )


def test_the_edges_of_images_that_are_padded_are_repeated() -> None:
    """30 x 17 is padded to 32 x 20: edges of constant images stay as they are."""
    network = at(discriminator_of(30, 17), 0)
    constant = torch.full((1, 3, 30, 17), 0.4)
    assert network.inner_sides == (32, 20)
    torch.testing.assert_close(network.to_level(constant), torch.full((1, 3, 8, 5), 0.4))
    torch.testing.assert_close(network.fade(constant), constant)
    network.set_growth(network.levels)
    image = torch.arange(30 * 17.0).view(1, 1, 30, 17)
    padded = network.to_level(image)
    assert torch.equal(padded[:, :, 1:-1, 1:-2], image)
    assert torch.equal(padded, torch.nn.functional.pad(image, (1, 2, 1, 1), mode="replicate"))


def test_levels_that_are_not_used_cost_nothing_and_learn_nothing() -> None:
    generator, discriminator = at(generator_of(16, 16), 0.5), at(discriminator_of(16, 16), 0.5)
    discriminator(generator(torch.randn(4, 5))).sum().backward()
    of_g = {name for name, parameter in generator.named_parameters() if parameter.grad is None}
    of_d = {name for name, parameter in discriminator.named_parameters() if parameter.grad is None}
    assert {name.split(".")[0] + name.split(".")[1] for name in of_g} == {"blocks2", "to_image2"}
    assert {name.split(".")[0] + name.split(".")[1] for name in of_d} == {"blocks1", "from_image2"}


@pytest.mark.parametrize("growth", [0.0, 0.5, 1.0, 2.0])
def test_the_state_of_growth_is_in_the_weights(growth: float) -> None:
    network, other = at(generator_of(16, 16), growth), generator_of(16, 16)
    other.load_state_dict(network.state_dict())
    assert (other.growth.item(), other.level, other.fading) == (growth, math.ceil(growth), growth == 0.5)
    assert torch.equal(other(torch.ones(2, 5)), network(torch.ones(2, 5)))


def test_a_network_may_be_grown_from_the_start() -> None:
    static, latent = generator_of(16, 16, grow=False), torch.randn(3, 5)
    assert not static.grows
    assert torch.equal(static(latent), at(generator_of(16, 16), 2)(latent))


@pytest.mark.parametrize("shape", [(2, 7), (2, 7, 3, 5)])
def test_pixel_norm_is_its_formula(shape: tuple[int, ...]) -> None:
    features = 3 * torch.randn(shape)
    normalized = PixelNorm()(features)
    torch.testing.assert_close(normalized.square().mean(1), torch.ones(shape[:1] + shape[2:]))
    torch.testing.assert_close(normalized, features / features.square().mean(1, keepdim=True).sqrt())


def test_the_deviation_of_a_group_is_a_map() -> None:
    """Two groups of four: samples 0, 2, 4, 6 and 1, 3, 5, 7."""
    maps = torch.randn(8, 3, 2, 5)
    extended = MinibatchStddev()(maps)
    assert extended.shape == (8, 4, 2, 5)
    assert torch.equal(extended[:, :3], maps)
    for first in (0, 1):
        expected = maps[first::2].std(0, correction=0).mean()
        torch.testing.assert_close(extended[first::2, 3], expected.expand(4, 2, 5))


def test_the_layers_are_those_of_the_paper() -> None:
    """One level, computed again by hand: rates, gains, pixel norm, leaky ReLU."""
    generator, latent = at(generator_of(8, 8), 0), torch.randn(4, 5)
    first = generator.project[1]
    stored = first.parametrizations.weight.original
    assert stored.std().item() == pytest.approx(1, abs=0.1)
    torch.testing.assert_close(first.weight, stored * math.sqrt(2) / 4 / math.sqrt(5))
    convolution = generator.blocks[0][2]
    inputs = convolution.in_channels
    scale = math.sqrt(2 / (9 * inputs))
    torch.testing.assert_close(convolution.weight, convolution.parametrizations.weight.original * scale)
    image = generator.to_image[0]
    torch.testing.assert_close(image.weight, image.parametrizations.weight.original / math.sqrt(inputs))

    def normalized(maps: Tensor) -> Tensor:
        return maps / (maps.square().mean(1, keepdim=True) + 1e-8).sqrt()

    maps = (normalized(latent) @ first.weight.T + first.bias).view(4, inputs, 4, 4)
    maps = normalized(leaky_relu(maps, 0.2))
    maps = normalized(leaky_relu(conv2d(maps, convolution.weight, convolution.bias, padding=1), 0.2))
    expected = repeated(conv2d(maps, image.weight, image.bias), 2)
    torch.testing.assert_close(generator(latent), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("minibatch", ["none", "stddev", "deviations", "discrimination"])
@pytest.mark.parametrize("growth", [0, 1.5, 2])
def test_every_statistic_of_the_batch_at_every_level(minibatch: str, growth: float) -> None:
    network = at(discriminator_of(16, 16, minibatch=minibatch), growth)
    images = torch.randn(8, 3, 16, 16, requires_grad=True)
    logits = network(images)
    assert logits.shape == (8,)
    (gradient,) = torch.autograd.grad(logits[0], images, create_graph=True)
    assert (gradient[1:].abs().sum() > 0) == (minibatch != "none")
    gradient.square().sum().backward()
    used = [module for module in network.modules() if isinstance(module, MinibatchStddev)]
    assert len(used) == (minibatch == "stddev")
    assert network.can_concatenate_real_and_fake(32) == (minibatch in ("none", "deviations"))


@pytest.mark.parametrize("way", ["concat", "projection", "acgan"])
@pytest.mark.parametrize("growth", [0, 1.5])
def test_the_class_reaches_what_comes_out(way: str, growth: float) -> None:
    conditions = ConditioningSpec(way, 3, 0 if way == "projection" else 2)
    generator = at(generator_of(16, 16, conditions=conditions), growth)
    discriminator = at(discriminator_of(16, 16, conditions=conditions), growth)
    one, other = (Condition(torch.eye(3)[[label] * 4]) for label in (0, 1))
    latent, image = torch.randn(4, 5), torch.randn(4, 3, 16, 16)
    assert not torch.allclose(generator(latent, one), generator(latent, other))
    if way == "acgan":
        classes = discriminator.discriminate(image).class_logits
        assert classes is not None
        assert classes.shape == (4, 3)
    else:
        assert not torch.allclose(discriminator(image, one), discriminator(image, other))


def test_the_activations_stay_near_one_at_the_start() -> None:
    """The equalized rate keeps the size of signals through all levels."""
    generator, discriminator = at(generator_of(64, 64), 4), at(discriminator_of(64, 64), 4)
    sizes: list[float] = []
    for module in [*generator.modules(), *discriminator.modules()]:
        if isinstance(module, nn.LeakyReLU):
            module.register_forward_hook(lambda *given: sizes.append(given[2].std().item()))
    fake = generator(torch.randn(16, 5))
    assert 0.2 < fake.std() < 5
    discriminator(torch.randn(16, 3, 64, 64))
    assert len(sizes) == 10 + 11
    assert all(0.05 < size < 5 for size in sizes), sizes
