"""R3GAN's networks (2501.05441): their start, their filters and their groups."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, conv_transpose2d

from gan_cli.config.options.image_sizes import downsampling_levels
from gan_cli.models.conditioning import ConditioningSpec
from gan_cli.models.networks.r3gan import (
    Downsample,
    R3GANDiscriminator,
    R3GANGenerator,
    ResidualBlock,
    Upsample,
    residual_gain,
)

SETTINGS = {"base_channels": 16, "max_multiplier": 4, "group_channels": 16, "blocks": 2}
KERNEL = torch.tensor([1.0, 2.0, 1.0])


def networks(side: int = 32, **changes: int) -> tuple[R3GANGenerator, R3GANDiscriminator]:
    shape, settings = (3, side, side), SETTINGS | changes
    return R3GANGenerator(shape, latent_dim=64, **settings), R3GANDiscriminator(shape, **settings)


def blocks_of(network: nn.Module) -> list[ResidualBlock]:
    return [module for module in network.modules() if isinstance(module, ResidualBlock)]


def fill_zeros(network: nn.Module) -> None:
    for block in blocks_of(network):
        nn.init.normal_(block.layers[4].weight, std=0.1)


def test_a_block_starts_as_the_identity() -> None:
    for network in networks():
        blocks = blocks_of(network)
        assert len(blocks) == 2 * 4  # at sides of 4, 8, 16 and 32
        for block in blocks:
            maps = torch.randn(2, block.layers[0].in_channels, 5, 5)
            assert torch.equal(block(maps), maps)


def test_a_generator_starts_as_linear_in_its_latent() -> None:
    """The blocks add nothing, and nothing else bends: G(-3 z) = -3 G(z)."""
    generator, discriminator = networks()
    latent, images = torch.randn(4, 64), torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(generator(-3 * latent), -3 * generator(latent))
    torch.testing.assert_close(discriminator(-3 * images), -3 * discriminator(images))
    fill_zeros(generator)
    assert (generator(-3 * latent) + 3 * generator(latent)).abs().max() > 1e-2


def test_weights_start_with_he_s_deviation_divided_by_the_root_of_the_root_of_the_number_of_blocks() -> None:
    assert residual_gain(8) == pytest.approx(math.sqrt(2 / 1.04) / 8**0.25)
    torch.manual_seed(0)
    generator, discriminator = networks(base_channels=64)
    for network in (generator, discriminator):
        for block in blocks_of(network):
            first, second = block.layers[0], block.layers[2]
            assert first.weight.std().item() == pytest.approx(residual_gain(8) / math.sqrt(first.in_channels), rel=0.1)
            assert second.weight.std().item() == pytest.approx(residual_gain(8) / math.sqrt(16 * 9), rel=0.1)
            assert block.layers[4].weight.abs().max() == 0
    assert generator.basis.std().item() == pytest.approx(1, rel=0.1)
    assert generator.project.weight.std().item() == pytest.approx(1 / 8, rel=0.1)
    images = generator(torch.randn(64, 64))
    assert 0.2 < images.std() < 2  # of the order of the data, however deep


def test_filters_are_those_of_1_2_1() -> None:
    maps = torch.randn(2, 3, 6, 8)
    kernel = (KERNEL[:, None] * KERNEL).expand(3, 1, 3, 3)
    up = conv_transpose2d(maps, kernel / 4, stride=2, groups=3)[:, :, :12, :16]
    torch.testing.assert_close(Upsample()(maps)[:, :, 1:, 1:], up[:, :, 1:, 1:])
    down = conv2d(maps, kernel / 16, stride=2, padding=1, groups=3)
    torch.testing.assert_close(Downsample()(maps)[:, :, 1:, 1:], down[:, :, 1:, 1:])
    ones = torch.ones(1, 1, 4, 4)
    assert torch.equal(Upsample()(ones), torch.ones(1, 1, 8, 8))  # no darker edge
    assert torch.equal(Downsample()(ones), torch.ones(1, 1, 2, 2))


@pytest.mark.parametrize(
    ("channels", "least", "groups"), [(16, 16, 2), (4, 16, 1), (48, 16, 6), (20, 16, 2), (8, 1, 16)]
)
def test_a_group_has_the_least_channels_or_more(channels: int, least: int, groups: int) -> None:
    middle = ResidualBlock(channels, least, 1.0).layers[2]
    assert middle.groups == groups
    assert middle.in_channels // groups >= min(least, 2 * channels)


@pytest.mark.parametrize("patch", [1, 2, 4])
@pytest.mark.parametrize("side", [5, 16, 28])
def test_every_parameter_gets_a_gradient(side: int, patch: int) -> None:
    generator, discriminator = networks(side, patch=patch, base_channels=4)
    fill_zeros(generator)
    fill_zeros(discriminator)
    fake = generator(torch.randn(4, 64))
    assert fake.shape == (4, 3, side, side)
    (discriminator(fake) * torch.randn(4)).sum().backward()
    for network in (generator, discriminator):
        assert [name for name, each in network.named_parameters() if each.grad is None or not each.grad.any()] == []


def test_a_patch_spares_the_finest_maps() -> None:
    levels = downsampling_levels(32, 32)[2]
    counts = [len(blocks_of(networks(patch=patch)[0])) for patch in (1, 2, 4)]
    assert counts == [2 * (levels + 1), 2 * levels, 2 * (levels - 1)]
    assert all(one > other for one, other in pairwise(counts))


@pytest.mark.parametrize("mode", ["concat", "projection", "acgan", "tags"])
def test_the_class_is_beside_the_latent(mode: str) -> None:
    conditions = ConditioningSpec(mode, 5, 0 if mode == "projection" else 7)
    generator = R3GANGenerator((1, 16, 16), latent_dim=6, **SETTINGS, conditions=conditions)
    assert generator.project.in_features == 6 + {"projection": 6, "tags": 5}.get(mode, 7)
    latent, labels = torch.randn(2, 6), torch.eye(5)[:2]
    assert not torch.equal(generator(latent, labels), generator(latent, labels.flip(0)))


def test_networks_of_the_papers_width_have_as_many_parameters() -> None:
    """The paper's generator for 32x32 has 20.7 million (2501.05441, appendix on stacked digits)."""
    with torch.device("meta"):
        for network in networks(base_channels=768, max_multiplier=1):
            assert sum(weight.numel() for weight in network.parameters()) == pytest.approx(20.7e6, abs=5e4)
