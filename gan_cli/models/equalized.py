"""The equalized learning rate (Karras et al., 1710.10196, section 4.1)."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization


class ConstantScale(nn.Module):
    """A parametrization: the layer computes with the parameter times `factor`."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, parameter: Tensor) -> Tensor:
        return parameter * self.factor

    def right_inverse(self, value: Tensor) -> Tensor:
        return value / self.factor


def equalize(
    layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d,
    gain: float = 1.0,
    rate: float = 1.0,
    *,
    bias_gain: float | None = None,
) -> nn.Module:
    """Makes Adam's relative step the same for all layers, and returns the layer.

    Stored weights start as N(0, 1) and are multiplied by gain / sqrt(fan_in) in each pass; the bias starts at 0. `rate`
    multiplies the learning rate of the weight and the bias, without a change of the layer's initial output
    (1812.04948, appendix C: .01 in the mapping network). Stored biases are multiplied by `bias_gain`, if it is
    given: where it is `gain`, the layer's whole output is multiplied by `gain`.
    """
    scale = gain / math.sqrt(math.prod(layer.weight.shape[2:]) * _inputs(layer))
    nn.init.normal_(layer.weight, std=scale)
    register_parametrization(layer, "weight", ConstantScale(scale * rate))  # stores the weight divided by this
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
        if rate != 1 or bias_gain is not None:
            register_parametrization(layer, "bias", ConstantScale(rate * (1.0 if bias_gain is None else bias_gain)))
    return layer


def _inputs(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> int:
    """Returns the number of inputs of each output of a layer, for one position of its kernel."""
    if isinstance(layer, nn.Linear):
        return layer.in_features
    return layer.in_channels // layer.groups
