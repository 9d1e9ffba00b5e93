"""Layers that styles modulate, and the filter of StyleGAN2 (Karras et al., 1912.04958)."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, interpolate, leaky_relu
from torch.nn.utils.parametrize import register_parametrization

from gan_cli.device import to_device
from gan_cli.models.equalized import ConstantScale, equalize
from gan_cli.models.noise import NoiseInput

FILTER = (1.0, 3.0, 3.0, 1.0)  # along each side
SLOPE = 0.2  # of the leaky ReLU
ACTIVATION_GAIN = math.sqrt(2)  # which keeps the second moment behind a leaky ReLU at about 1


def activated(layer: nn.Linear | nn.Conv2d, share: float = 1.0, rate: float = 1.0) -> nn.Sequential:
    """Returns the equalized layer and a leaky ReLU, whose output is multiplied by ACTIVATION_GAIN and `share`.

    Both factors are in the weight and the bias instead, which gives the same output.
    """
    gain = ACTIVATION_GAIN * share
    return nn.Sequential(equalize(layer, gain, rate, bias_gain=gain), nn.LeakyReLU(SLOPE))


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Returns a context without autocast, for styles and demodulation."""
    if torch.is_autocast_enabled(device.type):  # else nothing that an export would have to record
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


class _Blur(torch.autograd.Function):
    """A depthwise convolution whose gradient is one too, since the filter is symmetric.

    PyTorch's own second derivative of a depthwise convolution, which penalties need, takes many times as long on a CPU.
    """

    @staticmethod
    def forward(context: Any, maps: Tensor, padding: int, gain: float) -> Tensor:
        context.padding, context.gain = padding, gain
        return _filtered(maps, padding, gain)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Any, ...]:
        return blur(gradients[0], len(FILTER) - 1 - context.padding, context.gain), None, None


def _filtered(maps: Tensor, padding: int, gain: float) -> Tensor:
    side = torch.tensor(FILTER) / sum(FILTER)
    kernel = to_device(torch.outer(side, side) * gain, maps.device).to(maps.dtype)
    channels = maps.shape[1]
    return conv2d(maps, kernel.expand(channels, 1, -1, -1), padding=padding, groups=channels)


def blur(maps: Tensor, padding: int, gain: float = 1.0) -> Tensor:
    """Filters maps `[N, C, H, W]` by FILTER / 8 along each side, times `gain`, after padding them with zeros.

    The sides become H + 2 padding - 3 and W + 2 padding - 3.
    """
    if torch.is_grad_enabled() and maps.requires_grad:
        return _Blur.apply(maps, padding, gain)
    return _filtered(maps, padding, gain)


def upsample_image(image: Tensor) -> Tensor:
    """Doubles the sides of images `[N, C, H, W]` bilinearly.

    That is FILTER / 4 along each side between inserted zeros, except that the edges are replicated.
    """
    return interpolate(image, scale_factor=2, mode="bilinear", align_corners=False)


class ModulatedConv2d(nn.Module):
    """A convolution of maps `[N, inputs, H, W]` whose weight is scaled for each sample, by a style `[N, style_dim]`.

    The scales s = A style of the input channels start near 1. With `demodulate`, each sample's weight s_i W_oi is
    divided by its norm over i and the kernel, and multiplied by `gain` (1912.04958, section 2.2). It is computed as
    d conv(s x) with d_o = gain / sqrt(sum_i s_i^2 sum_kernel W_oi^2 + 1e-8), which is the same and needs one
    convolution for the whole batch. With `upsample`, the sides are doubled: the convolution is transposed, with stride
    2, and FILTER follows.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        style_dim: int,
        *,
        upsample: bool = False,
        demodulate: bool = True,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.upsample, self.demodulate, self.gain = upsample, demodulate, gain
        self.scales = equalize(nn.Linear(style_dim, inputs))
        nn.init.ones_(self.scales.bias)  # type: ignore[arg-type]
        kind = nn.ConvTranspose2d if upsample else nn.Conv2d
        self.convolution = equalize(kind(inputs, outputs, kernel, bias=False))

    def forward(self, maps: Tensor, style: Tensor) -> Tensor:
        weight: Any = self.convolution.weight
        with full_precision(maps.device):
            scales = self.scales(style.float())
            factors = self._factors(scales, weight) if self.demodulate else None
        maps = maps * scales[:, :, None, None].to(maps.dtype)
        if self.upsample:
            maps = blur(conv_transpose2d(maps, weight, stride=2), padding=1, gain=4.0)
        else:
            maps = conv2d(maps, weight, padding=weight.shape[2] // 2)
        return maps if factors is None else maps * factors[:, :, None, None].to(maps.dtype)

    def _factors(self, scales: Tensor, weight: Tensor) -> Tensor:
        """Returns d `[N, outputs]`."""
        squares = weight.float().square().sum((2, 3))  # `[outputs, inputs]`, or the reverse if transposed
        return self.gain * torch.rsqrt(scales.square() @ (squares if self.upsample else squares.T) + 1e-8)


class StyledConvolution(nn.Module):
    """A modulated 3x3 convolution to maps of these sides, noise, a bias and leaky ReLU times ACTIVATION_GAIN.

    The gain is in the convolution, the noise and the bias instead, which gives the same output.
    """

    def __init__(self, inputs: int, outputs: int, sides: tuple[int, int], style_dim: int, *, upsample: bool) -> None:
        super().__init__()
        self.convolution = ModulatedConv2d(inputs, outputs, 3, style_dim, upsample=upsample, gain=ACTIVATION_GAIN)
        self.noise = NoiseInput(*sides, gain=ACTIVATION_GAIN)
        self.bias = nn.Parameter(torch.zeros(outputs))
        register_parametrization(self, "bias", ConstantScale(ACTIVATION_GAIN))

    def forward(self, maps: Tensor, style: Tensor) -> Tensor:
        maps = self.noise(self.convolution(maps, style))
        return leaky_relu(maps + self.bias[:, None, None].to(maps.dtype), SLOPE)


class ToImage(nn.Module):
    """A modulated 1x1 convolution of maps to the channels of an image, float32, without demodulation."""

    def __init__(self, inputs: int, channels: int, style_dim: int) -> None:
        super().__init__()
        self.convolution = ModulatedConv2d(inputs, channels, 1, style_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Tensor, style: Tensor) -> Tensor:
        return self.convolution(maps, style).float() + self.bias[:, None, None]
