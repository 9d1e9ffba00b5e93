"""EfficientNet-Lite0: its layers by other functions of PyTorch, and the features of the published weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, pad, relu6

from gan_cli.models.imagenet import load_efficientnet, load_efficientnet_classifier
from gan_cli.models.networks.efficientnet import (
    EfficientNetLite0,
    EfficientNetLite0Classifier,
    FrozenConvolution,
    input_sides,
    resized,
)
from support.pretrained import needs_weights, random_published_weights

CPU = torch.device("cpu")
# kernel, stride, whether there is a 1 x 1 convolution to more channels first; of each block (1905.11946, table 1)
BLOCKS = [
    (3, 1, False),
    *[(3, 2, True), (3, 1, True)],
    *[(5, 2, True), (5, 1, True)],
    *[(3, 2, True), (3, 1, True), (3, 1, True)],
    *[(5, 1, True)] * 3,
    *[(5, 2, True), (5, 1, True), (5, 1, True), (5, 1, True)],
    (3, 1, True),
]


def reference_maps(tensors: dict[str, Tensor], images: Tensor) -> list[Tensor]:
    """The output of each block, with batch normalization as a layer. The sides are even, so that padding is simple."""

    def normalized(name: str, norm: str, maps: Tensor, stride: int = 1, *, depthwise: bool = False) -> Tensor:
        weight = tensors[f"{name}.weight"]
        kernel = weight.shape[2]
        before, after = ((kernel - 1) // 2,) * 2 if stride == 1 else ((kernel - 2) // 2, (kernel - 1) // 2)
        padded = pad(maps, (before, after, before, after))
        maps = conv2d(padded, weight, stride=stride, groups=maps.shape[1] if depthwise else 1)
        parts = [tensors[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return batch_norm(maps, *parts, eps=1e-3)

    maps = relu6(normalized("_conv_stem", "_bn0", ((images + 1) * 127.5 - 127) / 128, stride=2))
    found = []
    for number, (_, stride, expands) in enumerate(BLOCKS):
        block, before = f"_blocks.{number}", maps
        if expands:
            maps = relu6(normalized(f"{block}._expand_conv", f"{block}._bn0", maps))
        maps = relu6(normalized(f"{block}._depthwise_conv", f"{block}._bn1", maps, stride, depthwise=True))
        maps = normalized(f"{block}._project_conv", f"{block}._bn2", maps)
        if maps.shape == before.shape:
            maps = maps + before
        found.append(maps)
    head = relu6(normalized("_conv_head", "_bn1", maps))
    return [*found, head]


def test_the_layers_are_those_of_the_paper() -> None:
    tensors = random_published_weights()
    network = EfficientNetLite0Classifier()
    network.load_published(tensors)
    assert [tensors[f"_blocks.{number}._depthwise_conv.weight"].shape[2] for number in range(16)] == [
        kernel for kernel, _, _ in BLOCKS
    ]
    images = torch.randn(2, 3, 64, 96)
    expected = reference_maps(tensors, images)
    for maps, number in zip(network(images), (2, 4, 10, 15), strict=True):
        torch.testing.assert_close(maps, expected[number], rtol=1e-4, atol=1e-4)
    features, logits = network.classify(images)
    torch.testing.assert_close(features, expected[-1].mean((2, 3)), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits, features @ tensors["_fc.weight"].T + tensors["_fc.bias"])


def test_the_maps_are_a_4th_to_a_32nd_of_the_sides() -> None:
    network = EfficientNetLite0()
    shapes = [tuple(maps.shape) for maps in network(torch.zeros(2, 1, 64, 96))]
    assert shapes == [(2, 24, 16, 24), (2, 40, 8, 12), (2, 112, 4, 6), (2, 320, 2, 3)]
    assert [maps.shape[2] for maps in network(torch.zeros(1, 3, 50, 50))] == [13, 7, 4, 2]


def test_grey_images_are_seen_as_colour_images_of_equal_channels() -> None:
    network, grey = EfficientNetLite0(), torch.randn(2, 1, 64, 64)
    for one, other in zip(network(grey), network(grey.repeat(1, 3, 1, 1)), strict=True):
        torch.testing.assert_close(one, other)


def test_padding_is_that_of_tensorflow() -> None:
    """Worked out by hand: with stride 2 a row of 4 is padded by (0, 1) for a kernel of 3, a row of 5 by (1, 1)."""
    convolution = FrozenConvolution(1, 1, 3, 2, bias=False, saved=True)
    convolution.weight.fill_(0.0)
    convolution.weight[0, 0, 1] = torch.tensor([1.0, 10.0, 100.0])  # the middle row alone
    for row, expected in (([1, 2, 3, 4], [321, 43]), ([1, 2, 3, 4, 5], [210, 432, 54])):
        image = torch.tensor(row, dtype=torch.float32).expand(1, 1, 3, -1)
        assert convolution(image)[0, 0, 0].tolist() == expected  # 3 rows: padded by (1, 1), so the first one is seen


def test_nothing_is_trained_or_saved_and_the_gradient_reaches_the_image() -> None:
    network = EfficientNetLite0()
    assert list(network.parameters()) == []
    assert network.state_dict() == {}
    images = torch.randn(2, 3, 64, 64, requires_grad=True)
    torch.stack([maps.square().mean() for maps in network(images)]).sum().backward()
    assert images.grad is not None
    assert (images.grad.abs().sum((0, 1)) > 0).float().mean() > 0.95
    one = network.train()(images)[3]
    assert torch.equal(one, network.eval()(images)[3])
    torch.testing.assert_close(network(images[:1])[3], one[:1], rtol=1e-4, atol=1e-4)  # no statistics of the batch


def test_images_are_resized_to_multiples_of_32() -> None:
    assert input_sides([64, 64], 64) == (64, 64)
    assert input_sides([256, 128], 64) == (256, 128)
    assert input_sides([16, 32], 64) == (64, 128)
    assert input_sides([28, 28], 64) == (64, 64)
    assert input_sides([100, 70], 64) == (96, 64)
    assert input_sides([32, 32], 80) == (96, 96)
    assert input_sides([70, 140], 65) == (96, 192)
    images = torch.randn(1, 3, 16, 32)
    assert resized(images, (16, 32)) is images
    assert resized(images, (64, 128)).shape == (1, 3, 64, 128)
    torch.testing.assert_close(resized(torch.full((1, 1, 40, 40), 0.25), (64, 32)), torch.full((1, 1, 64, 32), 0.25))


def pattern() -> Tensor:
    line = torch.linspace(-1, 1, 64)
    sine, cosine = torch.sin(8 * line)[:, None].expand(64, 64), torch.cos(5 * line)[None, :].expand(64, 64)
    return torch.stack([line[:, None] * line[None, :], sine, cosine])[None]


@needs_weights
def test_the_published_weights_give_the_values_of_the_published_network() -> None:
    """Those of `efficientnet-lite-pytorch` 0.1.0, for a pattern; a photo of a cat, a cup and others were recognized."""
    with torch.no_grad():
        maps = load_efficientnet("extractor=efficientnet", CPU)(pattern())
        features, logits = load_efficientnet_classifier("extractor=efficientnet").classify(pattern())
    values = [value for each in maps for value in (each.mean().item(), each.std().item(), each[0, 3, 1, 1].item())]
    assert values == pytest.approx(
        [
            0.52529,
            11.82649,
            -3.59151,
            0.14293,
            9.9823,
            -16.28346,
            0.64226,
            5.57872,
            -1.02515,
            0.09591,
            3.40162,
            -7.47126,
        ],
        abs=1e-3,
    )
    assert (features.sum().item(), features.max().item()) == pytest.approx((787.3817, 6.0), rel=1e-4)
    assert logits[0, :5].tolist() == pytest.approx([-3.40954, 5.10198, 0.65926, -8.32388, -5.0302], abs=2e-3)
    assert (logits.argmax().item(), logits.max().item()) == (398, pytest.approx(18.58155, abs=2e-3))
