"""R3GAN (Huang et al., 2501.05441): residual networks of grouped convolutions, without normalization.

At each level two residual blocks follow a resampling by the filter (1, 2, 1). The last convolution of a block starts at
zero, and the others are scaled by the number of blocks, as in Fixup (1901.09321), so that deep networks start stable.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from gan_cli.config.options.image_sizes import downsampling_levels, padded_size
from gan_cli.models.conditioning import CONCATENATED, UNCONDITIONAL, ConditioningSpec, concat_condition
from gan_cli.models.layers import (
    Discriminator,
    center_crop,
    center_pad,
    channels_per_level,
    flatten_maps,
    largest_divisor,
)
from gan_cli.tasks.condition import Condition

EXPANSION = 2  # a block's inner width, as a multiple of its width
SLOPE = 0.2  # of the leaky ReLU
ACTIVATION_GAIN = nn.init.calculate_gain("leaky_relu", SLOPE)  # sqrt(2 / (1 + 0.2^2)), by which He's rule scales


def residual_gain(blocks: int) -> float:
    """Returns the gain of a block's first two convolutions in a network of so many blocks of three (1901.09321)."""
    return ACTIVATION_GAIN * blocks**-0.25


def init_normal(layer: nn.Conv2d | nn.Linear, gain: float = 1.0) -> nn.Conv2d | nn.Linear:
    """Draws the weight from N(0, gain^2 / inputs of an output), and sets the bias to zero. Returns the layer."""
    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class ResidualBlock(nn.Module):
    """Adds to maps `[N, C, H, W]` a 1x1 convolution to 2 C channels, a grouped 3x3 one, and a 1x1 one back to C.

    Leaky ReLU follows the first two. The last one starts at zero, so that the block starts as the identity. A group has
    at least `group_channels` channels, or all of them.
    """

    def __init__(self, channels: int, group_channels: int, gain: float) -> None:
        super().__init__()
        inner = EXPANSION * channels
        groups = largest_divisor(inner, max(inner // group_channels, 1))
        last = nn.Conv2d(inner, channels, 1, bias=False)
        self.layers = nn.Sequential(
            init_normal(nn.Conv2d(channels, inner, 1), gain),
            nn.LeakyReLU(SLOPE, inplace=True),
            init_normal(nn.Conv2d(inner, inner, 3, padding=1, groups=groups), gain),
            nn.LeakyReLU(SLOPE, inplace=True),
            last,
        )
        nn.init.zeros_(last.weight)

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.layers(maps)


class Upsample(nn.Module):
    """Doubles the sides of maps `[N, C, H, W]`: (1, 2, 1) / 2 along each side between inserted zeros.

    Every second value stays, and those between are means of two. The edges are replicated.
    """

    def forward(self, maps: Tensor) -> Tensor:
        return _mean_with_previous(interpolate(maps, scale_factor=2))[:, :, :-1, :-1]


class Downsample(nn.Module):
    """Halves the sides of maps `[N, C, H, W]`, filtered by (1, 2, 1) / 4 along each side, with replicated edges."""

    def forward(self, maps: Tensor) -> Tensor:
        return avg_pool2d(_mean_with_previous(maps), 2)  # does not use the last row and column


def _mean_with_previous(maps: Tensor) -> Tensor:
    """Returns the means of each value and that before it along each side, one more than there are values."""
    return avg_pool2d(maps, 2, 1, padding=1, count_include_pad=False)


def _change_width(inputs: int, outputs: int) -> list[nn.Module]:
    return [] if inputs == outputs else [init_normal(nn.Conv2d(inputs, outputs, 1, bias=False))]


def _map_sizes(levels: int, patch: int) -> int:
    """Returns how many sizes of maps there are, if a position of the finest ones stands for `patch` pixels a side."""
    return levels + 2 - patch.bit_length()


class R3GANGenerator(nn.Module):
    """Maps latents `[N, latent_dim]` to images `[N, C, H, W]`, whose sides are 4 or more. Values are not bounded.

    The coarsest maps are learned, and scaled by a linear function of the latent. In every mode the condition or its
    embedding is concatenated to the latent.
    """

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        latent_dim: int,
        base_channels: int,
        max_multiplier: int,
        group_channels: int,
        blocks: int,
        patch: int = 1,
        conditions: ConditioningSpec = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        if conditions.mode == "projection":
            conditions = conditions._replace(embedding_dim=latent_dim)
        self.entry = concat_condition(conditions, (*CONCATENATED, "projection"))
        channels, *self.sides = sample_shape
        base_height, base_width, levels = downsampling_levels(*padded_size(*self.sides))
        patch = min(patch, 2**levels)
        widths = channels_per_level(base_channels, _map_sizes(levels, patch), max_multiplier)[::-1]
        gain = residual_gain(blocks * len(widths))
        self.basis = nn.Parameter(torch.randn(widths[0], base_height, base_width))
        self.project = init_normal(nn.Linear(latent_dim + self.entry.added_features, widths[0], bias=False))
        layers: list[nn.Module] = [ResidualBlock(widths[0], group_channels, gain) for _ in range(blocks)]
        for wide, narrow in pairwise(widths):
            layers += [*_change_width(wide, narrow), Upsample()]
            layers += [ResidualBlock(narrow, group_channels, gain) for _ in range(blocks)]
        last = init_normal(nn.Conv2d(widths[-1], channels * patch**2, 1, bias=False))
        self.layers = nn.Sequential(*layers, last, nn.PixelShuffle(patch))

    def forward(self, latent: Tensor, condition: Condition | None = None) -> Tensor:
        maps = self.project(self.entry(latent, condition))[:, :, None, None] * self.basis
        return center_crop(self.layers(maps), self.sides)


class R3GANDiscriminator(Discriminator):
    """Maps images `[N, C, H, W]` in [-1, 1], whose sides are 4 or more, to logits `[N]`. Mirrors the generator."""

    batch_dependence_is_declared = True

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        base_channels: int,
        max_multiplier: int,
        group_channels: int,
        blocks: int,
        patch: int = 1,
        normalization: str = "none",
        minibatch: str = "none",
        conditions: ConditioningSpec = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        self.entry = concat_condition(conditions, ("concat",))
        channels, *sides = sample_shape
        self.inner_sides = padded_size(*sides)
        base_height, base_width, levels = downsampling_levels(*self.inner_sides)
        patch = min(patch, 2**levels)
        widths = channels_per_level(base_channels, _map_sizes(levels, patch), max_multiplier)
        gain = residual_gain(blocks * len(widths))
        first = nn.Conv2d((channels + self.entry.added_features) * patch**2, widths[0], 1, bias=False)
        layers: list[nn.Module] = [nn.PixelUnshuffle(patch), init_normal(first)]
        layers += [ResidualBlock(widths[0], group_channels, gain) for _ in range(blocks)]
        for narrow, wide in pairwise(widths):
            layers += [Downsample(), *_change_width(narrow, wide)]
            layers += [ResidualBlock(wide, group_channels, gain) for _ in range(blocks)]
        last = nn.Conv2d(widths[-1], widths[-1], (base_height, base_width), groups=widths[-1], bias=False)
        self.layers = nn.Sequential(*layers, init_normal(last))
        self.add_head(widths[-1], minibatch=minibatch, normalization=normalization, conditions=conditions)
        for name in ("score", "classes"):
            if isinstance(head := getattr(self, name, None), nn.Linear):
                init_normal(head)

    def features(self, sample: Tensor, condition: Condition | None) -> Tensor:
        return flatten_maps(self.layers(self.entry(center_pad(sample, self.inner_sides), condition)))
