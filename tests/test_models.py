"""Networks: every size and channel count, shape, range, and a gradient for every parameter."""

import pytest
import torch
from torch import nn

from gan_cli.models import DISCRIMINATORS, GENERATORS
from gan_cli.models.dcgan import DCGANDiscriminator, DCGANGenerator, levels_of, widths_of
from gan_cli.models.layers import NORMALIZATIONS, build_normalization
from gan_cli.models.mlp import MLPDiscriminator, MLPGenerator
from gan_cli.options import DCGAN_SIZES, IMAGE_NORMALIZATIONS, VECTOR_NORMALIZATIONS


def assert_every_parameter_gets_a_gradient(network: nn.Module, output: torch.Tensor) -> None:
    (output * torch.randn_like(output)).sum().backward()
    missing = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert missing == []
    dead = [name for name, parameter in network.named_parameters() if parameter.grad.abs().sum() == 0]
    assert dead == []


@pytest.mark.parametrize("side", DCGAN_SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_dcgan_makes_and_judges_every_size(side: int, channels: int) -> None:
    shape = (channels, side, side)
    generator = DCGANGenerator(shape, latent_dim=5, base_channels=2, normalization="batch")
    discriminator = DCGANDiscriminator(shape, base_channels=2, normalization="none")
    fake = generator(torch.randn(3, 5), None)
    assert fake.shape == (3, *shape)
    assert fake.dtype == torch.float32
    assert fake.abs().max() <= 1
    assert discriminator(fake, None).shape == (3,)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("normalization", IMAGE_NORMALIZATIONS)
def test_dcgan_in_every_normalization_and_channel_count(channels: int, normalization: str) -> None:
    shape = (channels, 16, 16)
    generator = DCGANGenerator(shape, latent_dim=5, base_channels=4, normalization=normalization)
    assert_every_parameter_gets_a_gradient(generator, generator(torch.randn(6, 5), None))
    discriminator = DCGANDiscriminator(shape, base_channels=4, normalization=normalization)
    assert_every_parameter_gets_a_gradient(discriminator, discriminator(torch.randn(6, *shape), None))


@pytest.mark.parametrize("shape", [(2,), (1, 28, 28), (3, 17, 9)])
@pytest.mark.parametrize("normalization", VECTOR_NORMALIZATIONS)
def test_mlp_in_every_normalization_and_shape(shape: tuple[int, ...], normalization: str) -> None:
    generator = MLPGenerator(shape, latent_dim=5, width=16, depth=2, normalization=normalization)
    fake = generator(torch.randn(6, 5), None)
    assert fake.shape == (6, *shape)
    assert_every_parameter_gets_a_gradient(generator, fake)
    discriminator = MLPDiscriminator(shape, width=16, depth=2, normalization=normalization)
    assert_every_parameter_gets_a_gradient(discriminator, discriminator(torch.randn(6, *shape), None))


def test_images_end_in_tanh_and_points_are_unbounded() -> None:
    latent = 100 * torch.randn(50, 5)
    image = MLPGenerator((1, 4, 4), latent_dim=5, width=16, depth=1, normalization="none")(latent, None)
    points = MLPGenerator((2,), latent_dim=5, width=16, depth=1, normalization="none")(latent, None)
    assert image.abs().max() <= 1
    assert points.abs().max() > 1


@pytest.mark.parametrize("side", [1, 4, 7, 12, 20, 33, 48, 100])
def test_odd_sizes_are_refused(side: int) -> None:
    assert side not in DCGAN_SIZES
    if side not in (4, 7):
        with pytest.raises(ValueError, match=str(side)):
            levels_of(side)


def test_levels_and_widths() -> None:
    assert levels_of(28) == (7, 2)
    assert levels_of(64) == (4, 4)
    assert levels_of(256) == (4, 6)
    assert widths_of(64, 6) == [64, 128, 256, 512, 512, 512]


def test_a_spectrally_normalized_layer_has_norm_one() -> None:
    discriminator = MLPDiscriminator((6,), width=16, depth=1, normalization="spectral")
    for _ in range(300):
        discriminator(torch.randn(4, 6), None)
    weights = [module.weight for module in discriminator.modules() if isinstance(module, nn.Linear)]
    assert len(weights) == 2
    for weight in weights:
        assert torch.linalg.matrix_norm(weight, ord=2).item() == pytest.approx(1, abs=1e-3)


def test_layer_normalization_normalizes_each_sample() -> None:
    normalize = build_normalization("layer", 4, image=True)
    out = normalize(5 + 3 * torch.randn(2, 4, 6, 6))
    torch.testing.assert_close(out.flatten(1).mean(1), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.flatten(1).std(1, correction=0), torch.ones(2), atol=1e-3, rtol=0)


def test_an_unknown_normalization_is_an_error() -> None:
    with pytest.raises(ValueError, match="instance"):
        build_normalization("instance", 4, image=False)
    with pytest.raises(ValueError, match="nonsense"):
        build_normalization("nonsense", 4, image=True)
    assert set(NORMALIZATIONS) == set(IMAGE_NORMALIZATIONS)


def test_tables_know_the_same_names() -> None:
    assert GENERATORS.keys() == DISCRIMINATORS.keys() == {"mlp", "dcgan"}
