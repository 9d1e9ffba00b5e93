"""SRResNet: residual blocks, doublings, and the maps that the paper has for images of 128 pixels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gan_cli.models.conditioning import ConditionalNorm, ConditioningSpec
from gan_cli.models.networks.srresnet import SRResNetDiscriminator, SRResNetGenerator
from gan_cli.models.residual import Residual, doubling_layers


def test_a_residual_block_adds_its_scaled_layers_to_its_input() -> None:
    values = torch.randn(2, 3)
    assert torch.equal(Residual(nn.ReLU(), scale=0.5)(values), values + 0.5 * values.relu())


def test_a_doubling_puts_four_channels_into_a_square() -> None:
    """One 1x1 convolution copies a channel four times, with the factors 1 to 4."""
    convolution = nn.Conv2d(1, 4, 1, bias=False)
    convolution.weight.data = torch.arange(1, 5.0).view(4, 1, 1, 1)
    double = nn.Sequential(*doubling_layers(1, lambda: convolution, list))
    assert torch.equal(double(torch.ones(1, 1, 1, 1)), torch.tensor([[[[1.0, 2], [3, 4]]]]))


@pytest.mark.parametrize("initialization", ["default", "normal", "equalized"])
@pytest.mark.parametrize("normalization", ["batch", "spectral"])
def test_enlarged_maps_start_as_repeated_positions(normalization: str, initialization: str) -> None:
    """Each doubling makes four equal positions of one; without this they would be as different as channels."""
    generator = SRResNetGenerator((3, 32, 32), 5, 4, 1, normalization, initialization)
    enlarged = generator.enlarge(torch.randn(2, 4, 16, 16))
    assert torch.equal(enlarged, enlarged[:, :, ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert enlarged.std() > 0.01


@pytest.mark.parametrize(
    ("side", "coarsest", "doublings"),
    [(256, 32, 3), (128, 16, 3), (64, 16, 2), (48, 24, 1), (32, 16, 1), (28, 14, 1), (16, 8, 1), (4, 4, 1)],
)
def test_the_blocks_work_at_16_pixels_as_in_the_paper_with_one_to_three_doublings(
    side: int, coarsest: int, doublings: int
) -> None:
    generator = SRResNetGenerator((3, side, side), latent_dim=5, base_channels=2, blocks=1, normalization="batch")
    seen: list[torch.Size] = []
    generator.blocks.register_forward_hook(lambda module, given, out: seen.append(out.shape[1:]))
    assert generator(torch.randn(2, 5)).shape == (2, 3, side, side)
    assert seen == [(2, coarsest, coarsest)]
    assert sum(isinstance(module, nn.PixelShuffle) for module in generator.modules()) == doublings


def test_the_networks_of_the_paper_have_its_layers() -> None:
    """16 blocks of 64 channels; D halves 128 pixels to maps of 4, with two blocks before each halving but the first."""
    with torch.device("meta"):
        generator = SRResNetGenerator((3, 128, 128), 128, 64, 16, "batch", conditions=ConditioningSpec("tags", 34))
        discriminator = SRResNetDiscriminator((3, 128, 128), 32, 16, 2)
    assert generator.project.weight.shape == (64 * 16 * 16, 128 + 34)
    assert sum(isinstance(module, Residual) for module in generator.modules()) == 16
    assert [module.kernel_size for module in generator.modules() if isinstance(module, nn.Conv2d)][-1] == (9, 9)
    halvings = [each for each in discriminator.modules() if isinstance(each, nn.Conv2d) and each.stride == (2, 2)]
    assert [layer.out_channels for layer in halvings] == [32, 64, 128, 256, 512]
    assert sum(isinstance(module, Residual) for module in discriminator.modules()) == 2 * 4
    assert not any("norm" in type(module).__name__.lower() for module in discriminator.modules())


def test_the_skips_reach_over_the_blocks() -> None:
    """If the last normalization of all blocks is zero, the maps of the linear layer come through unchanged."""
    generator = SRResNetGenerator((3, 32, 32), latent_dim=5, base_channels=4, blocks=3, normalization="batch").eval()
    for module in generator.blocks.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.zeros_(module.weight)
    seen: dict[str, torch.Tensor] = {}
    generator.first.register_forward_hook(lambda module, given, out: seen.update(first=out))
    generator.enlarge.register_forward_hook(lambda module, given, out: seen.update(enlarged=given[0]))
    generator(torch.randn(2, 5))
    assert torch.equal(seen["first"], seen["enlarged"])


def test_every_normalization_of_a_projected_generator_depends_on_the_condition() -> None:
    conditions = ConditioningSpec("projection", 3)
    generator = SRResNetGenerator((3, 16, 16), 5, 4, 2, "batch", conditions=conditions)
    norms = [module for module in generator.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == sum(isinstance(module, ConditionalNorm) for module in generator.modules()) == 1 + 2 * 2 + 1 + 1


@pytest.mark.parametrize("sides", [(17, 33), (32, 32), (28, 20)])
def test_every_parameter_gets_a_gradient(sides: tuple[int, int]) -> None:
    conditions = ConditioningSpec("tags", 3)
    generator = SRResNetGenerator((3, *sides), 5, 4, 2, "batch", conditions=conditions)
    discriminator = SRResNetDiscriminator((3, *sides), 4, 8, 2, conditions=conditions)
    fake = generator(torch.randn(6, 5), torch.eye(3).repeat(2, 1))
    assert fake.abs().max() <= 1
    output = discriminator.discriminate(fake)
    assert output.class_logits is not None
    (output.logits.sum() + (output.class_logits * torch.randn(6, 3)).sum()).backward()
    for network in (generator, discriminator):
        assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())
