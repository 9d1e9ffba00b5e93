"""The equalized learning rate: initial values, what the layer computes, and the step of Adam."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, linear

from gan_cli.config.options.networks.architectures import DISCRIMINATOR_OPTIONS
from gan_cli.errors import UsageError
from gan_cli.models.build_networks import build_networks
from gan_cli.models.equalized import ConstantScale, equalize
from gan_cli.models.layers import init_layer
from support.configs import compose


@pytest.mark.parametrize("rate", [1.0, 0.01])
def test_an_equalized_layer_starts_as_hes_normal_initialization(rate: float) -> None:
    torch.manual_seed(0)
    layer = equalize(nn.Linear(400, 300), gain=math.sqrt(2), rate=rate)
    assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / 400), rel=0.02)
    assert layer.parametrizations.weight.original.std().item() == pytest.approx(1 / rate, rel=0.02)
    assert not layer.bias.any()


def test_the_weight_is_scaled_by_the_root_of_the_inputs_of_an_output() -> None:
    maps, vectors = torch.randn(2, 8, 5, 5), torch.randn(3, 7)
    convolution, dense = equalize(nn.Conv2d(8, 6, 3, groups=2), gain=2.0), equalize(nn.Linear(7, 5))
    stored = convolution.parametrizations.weight.original
    torch.testing.assert_close(convolution(maps), conv2d(maps, stored * 2 / 6, groups=2))  # fan-in 4 * 3 * 3
    torch.testing.assert_close(dense(vectors), linear(vectors, dense.parametrizations.weight.original / math.sqrt(7)))


def test_the_rate_multiplies_the_step_of_adam() -> None:
    steps = []
    for rate in (1.0, 0.01):
        torch.manual_seed(0)
        layer = equalize(nn.Linear(9, 4), rate=rate)
        before, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
        layer(torch.ones(2, 9)).sum().backward()
        optimizer.step()
        steps.append(((layer.weight - before).abs().mean().item(), (layer.bias - bias).abs().mean().item()))
    assert steps[0] == pytest.approx((0.1 / 3, 0.1), rel=1e-3)
    assert steps[1] == pytest.approx((0.001 / 3, 0.001), rel=1e-3)


def test_it_is_an_initialization_that_goes_with_spectral_normalization() -> None:
    layer = init_layer(nn.Linear(30, 20), initialization="equalized", gain=3.0, normalization="spectral")
    for _ in range(30):
        layer(torch.ones(1, 30))
    assert torch.linalg.matrix_norm(layer.weight.detach(), 2).item() == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("name", DISCRIMINATOR_OPTIONS)
def test_weight_clip_is_refused_where_weights_are_equalized(name: str) -> None:
    chosen = ("dataset=shapes", "image_size=32", f"architecture/discriminator={name}", "regularizer=none")
    discriminator = build_networks(compose(*chosen), torch.device("meta"))[1]
    equalized = any(isinstance(module, ConstantScale) for module in discriminator.modules())
    assert DISCRIMINATOR_OPTIONS[name].equalized == equalized
    if equalized:
        with pytest.raises(UsageError, match=f"those of architecture.discriminator={name} are near 1"):
            compose(*chosen[:-1], "regularizer=weight_clip")
