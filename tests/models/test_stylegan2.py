"""StyleGAN2's layers and networks (1912.04958), against their definitions worked out another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan_cli.models.conditioning import ConditioningSpec
from gan_cli.models.freezing import frozen, without_statistics_updates
from gan_cli.models.layers import MinibatchStddev
from gan_cli.models.modulation import (
    ACTIVATION_GAIN,
    FILTER,
    ModulatedConv2d,
    StyledConvolution,
    blur,
    upsample_image,
)
from gan_cli.models.networks.stylegan2 import DownBlock, StyleGAN2Discriminator, StyleGAN2Generator
from gan_cli.models.styles import TruncatedGenerator, with_truncation
from gan_cli.state.ema import update_ema

CHANNELS = {"base_channels": 4, "max_multiplier": 2}


def generator(side: int = 16, **settings: object) -> StyleGAN2Generator:
    torch.manual_seed(0)
    return StyleGAN2Generator((3, side, side), latent_dim=8, **CHANNELS, **settings)  # type: ignore[arg-type]


def correlated(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Returns the sums over each window of the image, by loops: `[H - k + 1, W - k + 1]`."""
    height, width = (side - size + 1 for side, size in zip(image.shape, kernel.shape, strict=True))
    return np.array(
        [
            [
                (image[row : row + kernel.shape[0], column : column + kernel.shape[1]] * kernel).sum()
                for column in range(width)
            ]
            for row in range(height)
        ]
    )


def between_zeros(image: np.ndarray) -> np.ndarray:
    """Returns the image with a zero after each value of a row and of a column."""
    spread = np.zeros((2 * image.shape[0], 2 * image.shape[1]))
    spread[::2, ::2] = image
    return spread


def test_demodulation_is_that_of_one_weight_for_each_sample() -> None:
    """Equations 1 and 3 of the paper, with a weight of its own for each sample."""
    torch.manual_seed(0)
    layer = ModulatedConv2d(3, 4, 3, style_dim=5, gain=1.5)
    maps, style = torch.randn(2, 3, 6, 5), torch.randn(2, 5)
    weight = layer.convolution.weight.detach().numpy().astype(np.float64)
    affine = layer.scales.weight.detach().numpy().astype(np.float64)
    found = layer(maps, style).detach().numpy()
    for sample in range(2):
        scales = affine @ style[sample].numpy() + 1.0
        modulated = weight * scales[None, :, None, None]
        modulated /= np.sqrt((modulated**2).sum((1, 2, 3), keepdims=True) + 1e-8)
        for output in range(4):
            padded = [np.pad(maps[sample, channel].numpy(), 1) for channel in range(3)]
            expected = sum(correlated(padded[channel], modulated[output, channel]) for channel in range(3))
            np.testing.assert_allclose(found[sample, output], 1.5 * expected, atol=1e-5)


def test_a_demodulated_convolution_of_noise_has_deviation_one_whatever_the_style_and_the_weight() -> None:
    torch.manual_seed(0)
    layer = ModulatedConv2d(8, 16, 3, style_dim=5)
    nn.init.normal_(layer.scales.parametrizations.weight.original, std=3)
    maps = torch.randn(4, 8, 64, 64)
    outputs = layer(maps, 5 * torch.randn(4, 5))[:, :, 1:-1, 1:-1]
    torch.testing.assert_close(outputs.std((2, 3)), torch.ones(4, 16), rtol=0.1, atol=0)
    plain = ModulatedConv2d(8, 16, 3, style_dim=5, demodulate=False)
    plain.load_state_dict(layer.state_dict())
    assert plain(maps, 5 * torch.randn(4, 5)).std() > 2


def test_a_doubling_layer_is_the_filter_between_inserted_zeros_and_the_convolution() -> None:
    torch.manual_seed(0)
    layer = ModulatedConv2d(2, 1, 3, style_dim=4, upsample=True, demodulate=False)
    maps, style = torch.randn(1, 2, 5, 4), torch.randn(1, 4)
    weight = layer.convolution.weight.detach().numpy()
    scales = layer.scales(style).detach().numpy()[0]
    kernel = np.outer(FILTER, FILTER) / 16  # 4 times that of a mean
    expected = np.zeros((10, 8))
    for channel in range(2):
        spread = np.pad(between_zeros(maps[0, channel].numpy() * scales[channel]), ((3, 2), (3, 2)))
        # a transposed convolution correlates with the flipped weight
        expected += correlated(correlated(spread, kernel), weight[channel, 0, ::-1, ::-1])
    np.testing.assert_allclose(layer(maps, style)[0, 0].detach().numpy(), expected, atol=1e-5)


def test_a_demodulated_doubling_layer_has_a_quarter_of_the_kernel_s_weights_at_each_position() -> None:
    """The norm of the whole kernel is 1, as in the authors' code; a quarter of it meets no zero. The filter adds 4."""
    torch.manual_seed(0)
    layer = ModulatedConv2d(8, 16, 3, style_dim=5, upsample=True)
    norms = (layer.convolution.weight * layer.scales(torch.ones(1, 5))[0][:, None, None, None]).square().sum((0, 2, 3))
    by_hand = layer(torch.ones(1, 8, 9, 9), torch.ones(1, 5))
    layer.demodulate = False
    torch.testing.assert_close(by_hand * norms.sqrt()[:, None, None], layer(torch.ones(1, 8, 9, 9), torch.ones(1, 5)))


def test_an_image_is_doubled_by_the_same_filter_away_from_its_edges() -> None:
    image = torch.randn(1, 1, 6, 5)
    spread = np.pad(between_zeros(image[0, 0].numpy()), ((2, 1), (2, 1)))
    expected = correlated(spread, np.outer(FILTER, FILTER) / 16)
    found = upsample_image(image)[0, 0].numpy()
    assert found.shape == expected.shape == (12, 10)
    np.testing.assert_allclose(found[1:-1, 1:-1], expected[1:-1, 1:-1], atol=1e-6)
    assert torch.equal(upsample_image(torch.ones(1, 1, 4, 4)), torch.ones(1, 1, 8, 8))


@pytest.mark.parametrize("padding", [1, 2])
def test_a_blur_has_the_right_first_and_second_derivatives(padding: int) -> None:
    maps = torch.randn(2, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda given: blur(given, padding, 2.0), maps)
    assert torch.autograd.gradgradcheck(lambda given: blur(given, padding, 2.0).sin(), maps)
    with torch.no_grad():
        without = blur(maps, padding, 2.0)
    assert torch.equal(without, blur(maps, padding, 2.0))
    expected = 2 * correlated(np.pad(maps[0, 0].detach().numpy(), padding), np.outer(FILTER, FILTER) / 64)
    np.testing.assert_allclose(without[0, 0].numpy(), expected)


def activated(outputs: Tensor) -> Tensor:
    return torch.where(outputs > 0, outputs, 0.2 * outputs) * math.sqrt(2)


@pytest.mark.parametrize("upsample", [False, True])
def test_the_gain_of_the_leaky_relu_multiplies_the_noise_and_the_bias_too(upsample: bool) -> None:
    torch.manual_seed(0)
    layer = StyledConvolution(3, 4, (6, 8), style_dim=5, upsample=upsample).eval()
    strength, bias = layer.noise.strength, layer.parametrizations.bias.original
    nn.init.constant_(strength, 0.7)
    nn.init.normal_(bias)
    maps, style = torch.randn(2, 3, *((3, 4) if upsample else (6, 8))), torch.randn(2, 5)
    outputs = layer.convolution(maps, style) / math.sqrt(2) + 0.7 * layer.noise.constant + bias[:, None, None]
    torch.testing.assert_close(layer(maps, style), activated(outputs))
    before = [strength.item(), bias.clone(), layer(maps, style)]
    optimizer = torch.optim.Adam([strength, bias], lr=0.1, betas=(0.0, 0.99))
    (outputs.detach() * layer(maps, style)).sum().backward()
    optimizer.step()
    assert abs(strength.item() - before[0]) == pytest.approx(0.1, rel=1e-3)  # of what is stored, so sqrt(2) as much


def test_the_mapping_network_learns_at_a_hundredth_of_the_rate() -> None:
    network = generator(mapping_layers=1)
    layer = network.mapping[0][0].parametrizations
    nn.init.normal_(layer.bias.original)
    latent = torch.randn(3, 8)
    normalized = latent / latent.square().mean(1, keepdim=True).sqrt()
    outputs = normalized @ (0.01 / math.sqrt(8) * layer.weight.original).T + 0.01 * layer.bias.original
    torch.testing.assert_close(network.mapping(normalized), activated(outputs))


@pytest.mark.parametrize("residual", [False, True])
def test_a_block_of_the_discriminator_is_two_convolutions_and_a_shortcut(residual: bool) -> None:
    torch.manual_seed(0)
    block, maps = DownBlock(3, 5, residual=residual), torch.randn(2, 3, 8, 6)
    biases = [torch.randn(3), torch.randn(5)]
    for layer, bias in zip((block.first[0], block.second[0]), biases, strict=True):
        layer.parametrizations.bias.original.data.copy_(bias)

    def stored(layer: nn.Module) -> Tensor:
        weight = layer.parametrizations.weight.original
        return weight / math.sqrt(weight[0].numel())

    filter = torch.outer(torch.tensor(FILTER), torch.tensor(FILTER)) / 64
    first = activated(torch.conv2d(maps, stored(block.first[0]), biases[0], padding=1))
    filtered = torch.conv2d(first, filter.expand(3, 1, 4, 4), padding=2, groups=3)
    expected = activated(torch.conv2d(filtered, stored(block.second[0]), biases[1], stride=2))
    if residual:
        short = torch.conv2d(maps, filter.expand(3, 1, 4, 4), padding=1, stride=2, groups=3)
        expected = (expected + torch.conv2d(short, stored(block.direct))) / math.sqrt(2)
    torch.testing.assert_close(block(maps), expected)
    assert block(maps).shape == (2, 5, 4, 3)


def test_small_images_have_the_settings_for_them() -> None:
    """Those of 2006.06676 for CIFAR-10, and of its authors' code for 64 and 128 pixels."""
    for side, expected in ((28, (2, 0.0)), (32, (2, 0.0)), (36, (2, 0.9)), (64, (2, 0.9)), (128, (8, 0.9))):
        network = generator(side)
        assert (len(network.mapping), network.style_mixing) == expected
    chosen = generator(64, mapping_layers=3, style_mixing=0.5)
    assert (len(chosen.mapping), chosen.style_mixing) == (3, 0.5)
    cases = ((32, "auto", False), (64, "auto", True), (128, "auto", True), (16, True, True), (128, False, False))
    for side, residual, expected in cases:
        network = StyleGAN2Discriminator((3, side, side), residual=residual, **CHANNELS)
        assert all((block.direct is not None) == expected for block in network.blocks[2:])


def maps_of(network: StyleGAN2Generator, styles: Tensor) -> list[Tensor]:
    """Returns the maps that each layer makes."""
    seen: list[Tensor] = []
    hooks = [layer.register_forward_hook(lambda *given: seen.append(given[2])) for layer in network.layers]
    network.synthesize(styles)
    for hook in hooks:
        hook.remove()
    return seen


def test_there_is_a_style_for_each_convolution_and_the_last_image() -> None:
    assert generator(32).sides == (4, 8, 8, 16, 16, 32, 32, 32)
    assert StyleGAN2Generator((1, 28, 14), 8, **CHANNELS).sides == (14, 28, 28, 28)
    network = generator(32).eval()
    latent = torch.randn(3, 8)
    styles = network.map(latent)
    assert styles.shape == (3, 8, 8)
    assert torch.equal(styles, styles[:, :1].expand_as(styles))
    for index, side in enumerate(network.sides):
        changed = styles.clone()
        changed[:, index] += 1
        before, after = maps_of(network, styles), maps_of(network, changed)
        differs = [max(one.shape[2:]) for one, other in zip(before, after, strict=True) if not torch.equal(one, other)]
        assert min(differs, default=side) == side


def test_a_latent_gives_the_same_picture_in_evaluation_mode_whatever_its_length() -> None:
    network = generator(style_mixing=0.9).eval()
    for layer in network.layers:
        nn.init.ones_(layer.noise.strength)
    latent = torch.randn(5, 8)
    images = network(latent)
    torch.testing.assert_close(network(latent[1:3]), images[1:3])
    torch.testing.assert_close(network(3 * latent), images, atol=1e-4, rtol=1e-4)  # latents are normalized
    assert not torch.equal(network.train()(latent), network(latent))
    assert images.abs().max() > 1  # no tanh


def test_mixing_takes_the_styles_of_another_latent_from_a_layer_on() -> None:
    network = generator(32, style_mixing=0.5)
    latent = torch.randn(400, 8)
    own = network.eval().map(latent)[:, 0]
    styles = network.train().map(latent)
    other = own.roll(1, 0)
    from_own = torch.isclose(styles, own[:, None], atol=1e-5).all(2)
    from_other = torch.isclose(styles, other[:, None], atol=1e-5).all(2)
    assert (from_own ^ from_other).all()
    counts = from_own.sum(1)  # of the layers that keep the own style: the first ones
    assert torch.equal(from_own, torch.arange(8) < counts[:, None])
    assert 150 < (counts < 8).sum() < 250
    assert set(counts.tolist()) == set(range(1, 9))
    torch.manual_seed(3)
    again = network.map(latent)
    torch.manual_seed(3)
    assert torch.equal(again, network.map(latent))


def test_the_mean_style_moves_in_training_mode_alone() -> None:
    network, latent = generator(style_mixing=0.9), torch.randn(6, 8)
    mean = network.eval().map(latent)[:, 0].mean(0).detach()
    assert network.mean_style.abs().sum() == 0
    for context in (frozen, without_statistics_updates):
        with context(network.train()):
            network(latent)
        assert network.mean_style.abs().sum() == 0
    network(latent)
    torch.testing.assert_close(network.mean_style, mean)  # not a part of it: truncation is of use from the start
    other = network.eval().map(-latent)[:, 0].mean(0).detach()
    network.train()(-latent)
    torch.testing.assert_close(network.mean_style, 0.995 * mean + 0.005 * other)


def test_the_average_of_weights_copies_the_mean_style() -> None:
    network, average = generator(), generator()
    network(torch.randn(4, 8))
    network.constant.data.add_(1)
    update_ema(average, network, 0.9)
    assert torch.equal(average.mean_style, network.mean_style)
    torch.testing.assert_close(average.constant, network.constant - 0.9)


def test_truncation_moves_styles_and_not_latents() -> None:
    network = generator().eval()
    network.mean_style.normal_()
    latent = torch.randn(4, 8)
    styles = network.map(latent)
    moved = network.mean_style + 0.3 * (styles - network.mean_style)
    truncated, of_latents = with_truncation(network, 0.3)
    assert isinstance(truncated, TruncatedGenerator)
    assert of_latents is None
    torch.testing.assert_close(truncated(latent), network.synthesize(moved))
    assert with_truncation(network, None) == (network, None)
    other = nn.Linear(1, 1)
    assert with_truncation(other, 0.3) == (other, 0.3)


@pytest.mark.parametrize("mode", ["concat", "acgan", "projection"])
def test_classes_enter_the_mapping_network_normalized(mode: str) -> None:
    conditions = ConditioningSpec(mode, 3, 0 if mode == "projection" else 5)
    network = generator(conditions=conditions).eval()
    inputs: list[Tensor] = []
    network.mapping.register_forward_pre_hook(lambda module, given: inputs.append(given[0]))
    latent, labels = torch.randn(2, 8), torch.eye(3)[[0, 2]]
    images = network(latent, labels)
    assert not torch.allclose(images, network(latent, labels.flip(0)))
    for part in inputs[0].split([8, inputs[0].shape[1] - 8], 1):
        torch.testing.assert_close(part.square().mean(1), torch.ones(2), atol=1e-4, rtol=0)
    discriminator = StyleGAN2Discriminator((3, 16, 16), conditions=conditions, **CHANNELS)
    judged = discriminator.discriminate(images, labels)
    assert judged.logits.shape == (2,)
    if mode == "acgan":
        assert judged.class_logits is not None
        assert judged.class_logits.shape == (2, 3)
    else:
        assert not torch.isclose(judged.logits, discriminator(images, labels.flip(0))).any()


def test_deviations_are_a_channel_of_the_coarsest_maps() -> None:
    maps = torch.randn(6, 5, 4, 4)
    out = MinibatchStddev()(maps)
    assert out.shape == (6, 6, 4, 4)
    for first in range(2):  # groups of three: samples 0, 2, 4 and 1, 3, 5
        expected = maps[first::2].std(0, correction=0).mean()
        torch.testing.assert_close(out[first::2, 5], expected.expand(3, 4, 4), rtol=1e-4, atol=1e-4)
    network = StyleGAN2Discriminator((3, 16, 16), minibatch="stddev", **CHANNELS)
    alike = torch.randn(1, 3, 16, 16).expand(4, -1, -1, -1)
    different = torch.cat([alike[:1], torch.randn(3, 3, 16, 16)])
    assert not torch.isclose(network(alike)[0], network(different)[0])
    assert not network.can_concatenate_real_and_fake(4)
    alone = StyleGAN2Discriminator((3, 16, 16), **CHANNELS)
    torch.testing.assert_close(alone(alike)[0], alone(different)[0])


def test_signals_keep_their_scale_at_the_start() -> None:
    torch.manual_seed(0)
    network = StyleGAN2Generator((3, 32, 32), latent_dim=128, base_channels=32, max_multiplier=4)
    moments: list[float] = []
    for layer in network.layers:
        layer.register_forward_hook(lambda *given: moments.append(given[2].square().mean().item()))
    styles = network.map(torch.randn(16, 128))
    assert styles.square().mean().item() == pytest.approx(1, rel=0.3)
    images = network.synthesize(styles)
    assert all(0.1 < moment < 2 for moment in moments)  # a doubling layer's zeros take a part
    assert 0.3 < images.std() < 3
    assert pytest.approx(2**0.5) == ACTIVATION_GAIN


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_styles_are_computed_in_full_precision(precision: torch.dtype) -> None:
    network = generator().eval()
    latent = torch.randn(4, 8)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        styles, images = network.map(latent), network(latent)
    assert styles.dtype == images.dtype == torch.float32
    assert torch.equal(styles, network.map(latent))
    torch.testing.assert_close(images, network(latent), atol=0.1, rtol=0.1)
