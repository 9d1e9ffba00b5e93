"""Networks: every size and channel count, shape, range, and a gradient for every parameter."""

from typing import get_args

import pytest
import torch
from torch import nn

from gan_cli.cli.explain import load_explanations
from gan_cli.config.options.image_sizes import downsampling_levels, padded_size
from gan_cli.config.options.networks.architectures import GENERATOR_OPTIONS
from gan_cli.config.options.networks.network_keys import ImageNormalization, Initialization, VectorNormalization
from gan_cli.errors import UsageError
from gan_cli.models import build_networks
from gan_cli.models.build_networks import count_parameters
from gan_cli.models.layers import (
    MinibatchDeviations,
    binomial_blur,
    build_normalization,
    center_crop,
    center_pad,
    channels_per_level,
    flatten_maps,
    init_layer,
)
from gan_cli.models.networks.mlp import MLPDiscriminator, MLPGenerator
from gan_cli.models.networks.patch import PatchDiscriminator
from gan_cli.models.networks.resnet import ResNetDiscriminator, ResNetGenerator, SelfAttention
from gan_cli.models.registry import DISCRIMINATORS, GENERATORS
from gan_cli.objectives.regularizers import mean_of_patches
from gan_cli.tasks.tasks import example_condition
from support.configs import NEEDED_BY, compose

BARE = {"normalization": "none"}
MORE = {
    "resnet": {"normalization": "none", "max_multiplier": 2},
    "fastgan": {"normalization": "none", "max_multiplier": 2},
    "pggan": {"max_multiplier": 2},
    "r3gan": {"max_multiplier": 2, "group_channels": 4, "blocks": 1},
    "stylegan2": {"max_multiplier": 2},
    "srresnet": {"normalization": "none", "blocks": 1},
}
OF_DISCRIMINATOR = dict.fromkeys(("dcgan", "subpixel"), BARE) | MORE | {"srresnet": {"max_multiplier": 2, "blocks": 1}}
EXAMPLES = (16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256)


def assert_every_parameter_gets_a_gradient(network: nn.Module, output: torch.Tensor) -> None:
    (output * torch.randn_like(output)).sum().backward()
    missing = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert missing == []
    dead = [name for name, parameter in network.named_parameters() if parameter.grad.abs().sum() == 0]
    assert dead == []


@pytest.mark.parametrize("side", EXAMPLES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["dcgan", "subpixel"])
def test_every_size_is_made_and_judged(kind: str, side: int, channels: int) -> None:
    shape = (channels, side, side)
    generator = GENERATORS[kind](shape, latent_dim=5, base_channels=2, normalization="batch")
    discriminator = DISCRIMINATORS[kind](shape, base_channels=2, normalization="none")
    fake = generator(torch.randn(3, 5), None)
    assert fake.shape == (3, *shape)
    assert fake.dtype == torch.float32
    assert fake.abs().max() <= 1
    assert discriminator(fake, None).shape == (3,)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("normalization", get_args(ImageNormalization))
@pytest.mark.parametrize("kind", ["dcgan", "subpixel"])
def test_every_normalization_and_channel_count(kind: str, channels: int, normalization: str) -> None:
    shape = (channels, 16, 16)
    generator = GENERATORS[kind](shape, latent_dim=5, base_channels=4, normalization=normalization)
    assert_every_parameter_gets_a_gradient(generator, generator(torch.randn(6, 5), None))
    discriminator = DISCRIMINATORS[kind](shape, base_channels=4, normalization=normalization)
    assert_every_parameter_gets_a_gradient(discriminator, discriminator(torch.randn(6, *shape), None))


@pytest.mark.parametrize("side", [8, 16, 28])
def test_an_image_may_be_blurred_at_the_end(side: int) -> None:
    settings = {"latent_dim": 5, "base_channels": 4, "normalization": "batch"}
    generator = GENERATORS["subpixel"]((3, side, side), **settings, output="blurred")
    fake = generator(torch.randn(6, 5), None)
    assert fake.shape == (6, 3, side, side)
    assert_every_parameter_gets_a_gradient(generator, fake)


def test_a_blur_leaves_no_alternation_and_no_darker_edge() -> None:
    alternating = torch.tensor([1.0, -1.0]).repeat(4).expand(1, 1, 8, 8)
    assert binomial_blur()(alternating)[..., 1:-1].abs().max() == 0
    assert torch.equal(binomial_blur()(torch.full((1, 2, 4, 6), 0.5)), torch.full((1, 2, 4, 6), 0.5))
    edge = torch.zeros(1, 1, 5, 5)
    edge[..., 0] = 1.0
    assert binomial_blur()(edge)[0, 0, 0].tolist() == [0.75, 0.25, 0, 0, 0]


def test_an_image_that_is_blurred_begins_without_a_pattern() -> None:
    torch.manual_seed(0)
    settings = {"latent_dim": 5, "base_channels": 16, "normalization": "none"}

    def pattern(kind: str) -> float:
        """The share of the variance between neighbours that stays if all 4 x 4 blocks of an image are averaged."""
        generator = GENERATORS["subpixel"]((1, 32, 32), **settings, output=kind)
        steps = generator(torch.randn(64, 5), None).diff(dim=3)[..., 4:28]
        return (steps.unflatten(3, (6, 4)).mean((0, 1, 2, 3)).var() / steps.var()).item()

    of_unfolded, of_blurred = ([pattern(kind) for _ in range(5)] for kind in ("unfolded", "blurred"))
    assert sum(of_blurred) < 0.2 * sum(of_unfolded)


@pytest.mark.parametrize("shape", [(2,), (1, 28, 28), (3, 17, 9)])
@pytest.mark.parametrize("normalization", get_args(VectorNormalization))
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


@pytest.mark.parametrize("side", [1, 4, 7, 9, 17, 33, 50, 100])
def test_odd_sizes_are_refused(side: int) -> None:
    with pytest.raises(ValueError, match=f"{side} x {side}"):
        downsampling_levels(side, side)


SIZES = {
    (36, 64): (40, 64), (72, 128): (80, 128), (45, 80): (48, 80), (60, 80): (64, 80), (120, 160): (128, 160),
    (240, 320): (256, 320), (100, 100): (112, 112), (300, 300): (320, 320), (60, 72): (64, 80), (17, 33): (20, 36),
    (4, 4): (8, 8), (7, 100): (8, 100), (28, 28): (28, 28), (48, 64): (48, 64),
}  # fmt: skip


@pytest.mark.parametrize("sides", SIZES)
@pytest.mark.parametrize("kind", ["dcgan", "subpixel", "resnet", "r3gan", "fastgan", "pggan", "stylegan2", "srresnet"])
def test_every_size_a_picture_has_is_made_at_the_next_larger_one(kind: str, sides: tuple[int, int]) -> None:
    assert padded_size(*sides) == SIZES[sides]
    shape = (3, *sides)
    generator = GENERATORS[kind](shape, latent_dim=5, base_channels=4, **MORE.get(kind, BARE))
    discriminator = DISCRIMINATORS[kind](shape, base_channels=4, **OF_DISCRIMINATOR[kind])
    fake = generator(torch.randn(2, 5), None)
    assert fake.shape == (2, *shape)
    gradient = torch.autograd.grad(discriminator(fake, None).sum(), fake)[0]
    assert (gradient.abs().sum((0, 1)) > 0).float().mean() > 0.9  # all of the picture is judged


def test_no_side_is_made_much_larger() -> None:
    for height in range(8, 1025, 9):
        for width in range(8, 1025, 7):
            inner = padded_size(height, width)
            levels = downsampling_levels(*inner)[2]
            assert max(inner) <= 1024
            assert all(0 <= made - wanted < 2**levels for made, wanted in zip(inner, (height, width), strict=True))


def test_images_are_cut_from_the_middle_and_put_into_it() -> None:
    images = torch.arange(5 * 8.0).view(1, 1, 5, 8) + 1
    assert torch.equal(center_crop(images, (2, 4)), images[:, :, 1:3, 2:6])
    assert center_crop(images, (5, 8)) is images
    wide = center_pad(images, (8, 9))
    assert wide.shape == (1, 1, 8, 9)
    assert torch.equal(center_crop(wide, (5, 8)), images)
    assert wide.sum() == images.sum()
    assert center_pad(images, (5, 8)) is images


def test_levels_and_widths() -> None:
    assert downsampling_levels(28, 28) == (7, 7, 2)
    assert downsampling_levels(64, 64) == (4, 4, 4)
    assert downsampling_levels(256, 256) == (4, 4, 6)
    assert downsampling_levels(64, 96) == (4, 6, 4)
    assert downsampling_levels(96, 32) == (12, 4, 3)
    assert channels_per_level(64, 6) == [64, 128, 256, 512, 512, 512]
    assert channels_per_level(64, 4, max_multiplier=2) == [64, 128, 128, 128]
    assert all(downsampling_levels(side, side)[2] >= 1 for side in EXAMPLES)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (16, 8), (40, 20), (24, 36)])
@pytest.mark.parametrize("kind", ["subpixel", "dcgan", "resnet", "r3gan", "fastgan", "pggan", "stylegan2", "srresnet"])
def test_images_need_not_be_square(kind: str, height: int, width: int) -> None:
    generator = GENERATORS[kind]((3, height, width), latent_dim=5, base_channels=2, **MORE.get(kind, BARE))
    discriminator = DISCRIMINATORS[kind]((3, height, width), base_channels=2, **OF_DISCRIMINATOR[kind])
    fake = generator(torch.randn(2, 5), None)
    assert fake.shape == (2, 3, height, width)
    assert mean_of_patches(discriminator(fake, None)).shape == (2,)


@pytest.mark.parametrize("normalization", get_args(ImageNormalization))
@pytest.mark.parametrize("attention", [None, 16])
def test_resnet_in_every_normalization(normalization: str, attention: int | None) -> None:
    shape, settings = (3, 32, 32), {"base_channels": 8, "max_multiplier": 2, "attention": attention}
    generator = ResNetGenerator(shape, latent_dim=5, normalization=normalization, **settings)
    discriminator = ResNetDiscriminator(shape, normalization=normalization, **settings)
    for module in [*generator.modules(), *discriminator.modules()]:
        if isinstance(module, SelfAttention):
            nn.init.ones_(module.gamma)  # at zero, as it starts, what is behind it gets no gradient
    fake = generator(torch.randn(6, 5), None)
    assert fake.shape == (6, *shape)
    assert fake.abs().max() <= 1
    assert_every_parameter_gets_a_gradient(generator, fake)
    assert_every_parameter_gets_a_gradient(discriminator, discriminator(torch.randn(6, *shape), None))
    both = [*generator.modules(), *discriminator.modules()]
    assert sum(isinstance(module, SelfAttention) for module in both) == (0 if attention is None else 2)


@pytest.mark.parametrize("side", [16, 28, 32, 64, 128])
def test_resnet_makes_and_judges_every_size(side: int) -> None:
    generator = ResNetGenerator((1, side, side), latent_dim=5, base_channels=2, max_multiplier=4, normalization="batch")
    discriminator = ResNetDiscriminator((1, side, side), base_channels=2, max_multiplier=4, normalization="none")
    assert discriminator(generator(torch.randn(2, 5), None), None).shape == (2,)


def test_the_papers_cifar_networks_have_the_papers_sizes() -> None:
    """SNGAN's tables 3 and 4 (1802.05957): counted from kernels and biases, layer by layer."""

    def convolution(inputs: int, outputs: int, kernel: int) -> int:
        return inputs * outputs * kernel**2 + outputs

    generator = ResNetGenerator((3, 32, 32), latent_dim=128, base_channels=256, max_multiplier=1, normalization="batch")
    block = 2 * convolution(256, 256, 3) + convolution(256, 256, 1) + 2 * 2 * 256
    linear = 128 * 4 * 4 * 256 + 4 * 4 * 256
    assert count_parameters(generator) == linear + 3 * block + 2 * 256 + convolution(256, 3, 3)
    discriminator = ResNetDiscriminator((3, 32, 32), base_channels=128, max_multiplier=1, normalization="none")
    first = convolution(3, 128, 3) + convolution(128, 128, 3) + convolution(3, 128, 1)
    second = 2 * convolution(128, 128, 3) + convolution(128, 128, 1)
    kept = 2 * convolution(128, 128, 3)
    assert count_parameters(discriminator) == first + second + 2 * kept + 129
    assert discriminator.layers[:2](torch.zeros(1, 3, 32, 32)).shape == (1, 128, 8, 8)


def test_pooling_is_a_sum_or_a_mean() -> None:
    settings = {"base_channels": 4, "max_multiplier": 1, "normalization": "none"}
    by_sum, by_mean = (ResNetDiscriminator((1, 32, 32), pooling=pooling, **settings) for pooling in ("sum", "mean"))
    by_mean.load_state_dict(by_sum.state_dict())
    sample = torch.randn(3, 1, 32, 32)
    bias = by_sum.score.bias
    torch.testing.assert_close(by_sum(sample, None) - bias, 64 * (by_mean(sample, None) - bias))


@pytest.mark.parametrize(("height", "width"), [(3, 5), (4, 6)])
def test_attention_is_what_its_formula_says(height: int, width: int) -> None:
    attention = SelfAttention(8, initialization="default", normalization="none")
    maps = torch.randn(2, 8, height, width)
    assert torch.equal(attention(maps), maps)  # gamma starts at zero
    nn.init.constant_(attention.gamma, 0.5)
    query, key, value = attention.query(maps).flatten(2), attention.key(maps), attention.value(maps)
    if height % 2 == 0:  # the greatest of each two by two, after the projections
        key, value = (part.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5)) for part in (key, value))
    key, value = key.flatten(2), value.flatten(2)
    expected = torch.empty(2, 4, height * width)
    for place in range(height * width):
        weight = torch.softmax((query[:, :, place, None] * key).sum(1), dim=1)
        expected[:, :, place] = (value * weight[:, None]).sum(2)
    expected = maps + 0.5 * attention.output(expected.unflatten(2, (height, width)))
    torch.testing.assert_close(attention(maps), expected)


@pytest.mark.parametrize("initialization", get_args(get_args(Initialization)[0]))
def test_initializations_draw_what_they_say(initialization: str) -> None:
    torch.manual_seed(0)
    layer = init_layer(nn.Linear(300, 200), initialization=initialization)
    deviation = {"default": 1 / 3**0.5 / 300**0.5, "normal": 0.02, "xavier": (2 / 500) ** 0.5, "orthogonal": 300**-0.5}
    assert layer.weight.std().item() == pytest.approx(deviation[initialization], rel=0.03)
    assert (layer.bias == 0).all() == (initialization != "default")
    if initialization == "orthogonal":
        torch.testing.assert_close(layer.weight @ layer.weight.T, torch.eye(200), atol=1e-5, rtol=0)


def test_an_unknown_initialization_is_an_error() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        init_layer(nn.Linear(1, 1), initialization="nonsense")


@pytest.mark.parametrize("kind", ["mlp", "dcgan", "subpixel"])
def test_dropout_drops_in_training_alone(kind: str) -> None:
    size = {"width": 64, "depth": 2} if kind == "mlp" else {"base_channels": 8}
    for table, inputs, more in (
        (GENERATORS, torch.randn(4, 5), {"latent_dim": 5}),
        (DISCRIMINATORS, torch.randn(4, 1, 16, 16), {}),
    ):
        network = table[kind]((1, 16, 16), normalization="none", dropout=0.5, **size, **more)
        assert not torch.equal(network(inputs, None), network(inputs, None))
        network.eval()
        assert torch.equal(network(inputs, None), network(inputs, None))


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
    for name in get_args(ImageNormalization):
        build_normalization(name, 4, image=True)


@torch.no_grad()
@pytest.mark.parametrize("name", GENERATORS)
def test_images_are_bounded_where_the_options_say_so(name: str) -> None:
    """The weights are large, so that an output without a bound is outside of [-1, 1]."""
    config = compose("dataset=shapes", "image_size=16", *NEEDED_BY.get(name, ()), f"architecture/generator={name}")
    generator = build_networks.build_networks(config, torch.device("cpu"))[0].eval()
    for parameter in generator.parameters():
        parameter.mul_(4)
    condition = example_condition(config.task, config.sample_shape)
    images = generator(torch.randn(1, config.architecture.generator.latent_dim), condition)
    assert (images.abs().max().item() <= 1) == GENERATOR_OPTIONS[name].bounded


def test_tables_know_the_same_names() -> None:
    of_both = {"subpixel", "dcgan", "resnet", "r3gan", "fastgan", "pggan", "stylegan2", "srresnet", "mlp"}
    assert GENERATORS.keys() == of_both | {"unet", "gated_unet", "edsr"}
    assert DISCRIMINATORS.keys() == of_both | {"patch", "projected"}


@pytest.mark.parametrize(("levels", "width"), [(2, 26), (3, 54), (4, 110)])
def test_a_logit_of_a_patch_depends_on_a_square_of_the_width_that_is_told(levels: int, width: int) -> None:
    network = PatchDiscriminator((1, 128, 128), 2, levels, "none")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_().add_(0.1)  # no path through the network has a gradient of zero
    images = torch.ones(1, 1, 128, 128, requires_grad=True)
    logits = network(images)
    logits[0, logits.shape[1] // 2, logits.shape[2] // 2].backward()
    assert images.grad is not None
    seen = images.grad[0, 0].nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [width, width]
    assert len(seen) == width**2
    told = load_explanations()["architecture/discriminator/patch"]["what"]
    for text in (PatchDiscriminator.__doc__ or "", told):
        assert f"{width} pixels wide" in " ".join(text.split()) or f" {width} with {levels}" in " ".join(text.split())


def test_deviations_are_those_of_learned_features_within_a_group() -> None:
    layer = MinibatchDeviations(5, kernels=3, group=4)
    features = torch.randn(8, 5)
    out = layer(features)
    assert out.shape == (8, 5 + layer.added_features) == (8, 8)
    assert torch.equal(out[:, :5], features)
    for group in (slice(0, 4), slice(4, 8)):
        expected = layer.project(features[group]).std(0, correction=0)
        torch.testing.assert_close(out[group, 5:], expected.expand(4, 3), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("count", "size"), [(8, 4), (6, 3), (5, 1), (2, 2), (1, 1)])
def test_groups_are_as_large_as_divides_the_batch(count: int, size: int) -> None:
    out = MinibatchDeviations(5, kernels=3, group=4)(torch.randn(count, 5))[:, 5:]
    groups = out.view(count // size, size, 3)
    assert torch.equal(groups, groups[:, :1].expand_as(groups))
    assert len({tuple(row.tolist()) for row in groups[:, 0]}) == (
        count // size if size > 1 else 1
    )  # alone: none at all


def test_samples_that_are_all_alike_stand_out_and_still_have_a_gradient() -> None:
    layer = MinibatchDeviations(5)
    alike = torch.randn(1, 5).expand(16, 5).clone().requires_grad_(True)
    deviations = layer(alike)[:, 5:]
    assert deviations.max() < 1e-3 < layer(torch.randn(16, 5))[:, 5:].min()
    deviations.sum().backward()
    assert alike.grad is not None
    assert alike.grad.isfinite().all()


def test_a_discriminator_that_says_so_keeps_two_batches_apart() -> None:
    discriminator = DISCRIMINATORS["subpixel"](
        (1, 16, 16), base_channels=4, normalization="none", minibatch="deviations"
    )
    one, other = torch.randn(16, 1, 16, 16), 2 * torch.randn(16, 1, 16, 16)
    assert discriminator.can_concatenate_real_and_fake(16)
    assert not discriminator.can_concatenate_real_and_fake(12)
    together = discriminator(torch.cat([one, other]), None)
    torch.testing.assert_close(together, torch.cat([discriminator(one, None), discriminator(other, None)]))


def test_gradients_come_back_in_the_layout_of_the_maps() -> None:
    maps = torch.randn(2, 8, 4, 4).contiguous(memory_format=torch.channels_last).requires_grad_(True)
    weights = torch.randn(2, 128)
    inner = maps * 1
    flat = flatten_maps(inner)  # asks for the layout first, so that what is asked next sees it
    seen: list[torch.Tensor] = []
    inner.register_hook(seen.append)
    (flat * weights).sum().backward()
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert maps.grad is not None
    assert torch.equal(maps.grad.reshape(2, -1), weights)


def test_a_plugin_s_discriminator_with_names_of_an_earlier_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Earlier(MLPDiscriminator):
        mixes_by_known_layers = True

    monkeypatch.setitem(build_networks.DISCRIMINATORS, "mlp", Earlier)
    with pytest.raises(UsageError, match="Earlier has 'mixes_by_known_layers', which is called 'batch_dep"):
        build_networks.build_networks(compose("architecture=mlp"), torch.device("meta"))
