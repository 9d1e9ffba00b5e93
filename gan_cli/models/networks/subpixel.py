"""Subpixel networks (1609.05158): blocks of pixels are channels of small maps, which is fast on a CPU."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from gan_cli.config.options.image_sizes import downsampling_levels, padded_size
from gan_cli.models.conditioning import (
    CONCATENATED,
    UNCONDITIONAL,
    ConditionalSequential,
    ConditioningSpec,
    concat_condition,
)
from gan_cli.models.layers import (
    DCGAN_MULTIPLIER,
    binomial_blur,
    center_crop,
    center_pad,
    channels_per_level,
    init_layer,
    normalized_relu,
)
from gan_cli.models.networks.dcgan import DCGANDiscriminator
from gan_cli.tasks.condition import Condition

MAX_FOLDED_LEVELS = 2  # G's last convolution turns each position of the map into at most 4 x 4 pixels (2 levels)


class SubpixelGenerator(nn.Module):
    """Maps latents `[N, latent_dim]` to images `[N, C, H, W]` in [-1, 1], whose sides are 4 or more.

    The map with `base_channels` channels has a quarter of the image's sides. Each coarser map has twice as many
    channels as the map before, up to `max_multiplier` times `base_channels`. If `output` is `unfolded`, one convolution
    turns each position of that map into 4 x 4 pixels. If `output` is `blurred`, the sides of the map are doubled once
    more with half as many channels, then each position becomes 2 x 2 pixels, and a blur removes checkerboard patterns.
    The initial weights for `blurred` make each doubling repeat a value (1707.02937).
    """

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        latent_dim: int,
        base_channels: int,
        normalization: str,
        max_multiplier: int = DCGAN_MULTIPLIER,
        initialization: str = "default",
        dropout: float = 0.0,
        output: str = "unfolded",
        conditions: ConditioningSpec = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        self.entry = concat_condition(conditions, CONCATENATED)
        channels, *self.sides = sample_shape
        base_height, base_width, levels = downsampling_levels(*padded_size(*self.sides))
        folded = min(levels, MAX_FOLDED_LEVELS)
        widths = channels_per_level(base_channels, levels - folded + 1, max_multiplier)[::-1]
        first = max(1, widths[0] // 2)
        self.base_shape = (base_height, base_width, first)
        settings: Any = {"initialization": initialization, "normalization": normalization}
        activate = partial(normalized_relu, normalization=normalization, dropout=dropout, conditions=conditions)

        def convolution(inputs: int, outputs: int) -> nn.Module:
            return init_layer(nn.Conv2d(inputs, outputs, 3, padding=1), **settings)

        self.mapping = nn.Sequential(nn.Linear(latent_dim + self.entry.added_features, latent_dim), nn.LeakyReLU(0.2))
        self.project = init_layer(nn.Linear(latent_dim, first * base_height * base_width), **settings)
        layers = [*activate(first), convolution(first, widths[0]), *activate(widths[0])]
        for wide, narrow in pairwise(widths):
            layers += [convolution(wide, 4 * narrow), nn.PixelShuffle(2), *activate(narrow)]
        if output == "blurred" and folded > 1:
            half = max(1, widths[-1] // 2)
            layers += [convolution(widths[-1], 4 * half), nn.PixelShuffle(2), *activate(half)]
            finest, folded = half, folded - 1
        else:
            layers += [convolution(widths[-1], widths[-1]), *activate(widths[-1])]
            finest = widths[-1]
        last = nn.Conv2d(finest, channels * 4**folded, 3, padding=1)
        layers += [init_layer(last, initialization=initialization), nn.PixelShuffle(2**folded)]
        if output == "blurred":
            _repeat_subpixels(layers)
            layers.append(binomial_blur())
        self.layers = ConditionalSequential(*layers, nn.Tanh())

    def forward(self, latent: Tensor, condition: Condition | None = None) -> Tensor:
        maps = self.project(self.mapping(self.entry(latent, condition))).unflatten(1, self.base_shape)
        images = self.layers(maps.permute(0, 3, 1, 2), condition)  # channels_last, the faster memory layout
        return center_crop(images, self.sides)


@torch.no_grad()
def _repeat_subpixels(layers: list[nn.Module]) -> None:
    """Gives all channels that a PixelShuffle places in the same block of pixels the same weights (ICNR, 1707.02937)."""
    for convolution, shuffle in pairwise(layers):
        if isinstance(shuffle, nn.PixelShuffle):
            for tensor in convolution.parameters():
                count = shuffle.upscale_factor**2
                tensor.copy_(tensor[::count].repeat_interleave(count, 0))


class SubpixelDiscriminator(DCGANDiscriminator):
    """Maps images `[N, C, H, W]` in [-1, 1], whose sides are 4 or more, to logits `[N]`.

    First, each block of 2 x 2 pixels becomes one position with 4 times as many channels. A convolution then computes
    `base_channels` channels, and strided convolutions halve the sides of the map. The first layer is not normalized.
    """

    kernel = 3

    def first_layers(self, channels: int, width: int) -> list[Any]:
        return [nn.PixelUnshuffle(2), nn.Conv2d(4 * channels, width, 3, padding=1)]

    def features(self, sample: Tensor, condition: Condition | None) -> Tensor:
        return self.layers(self.entry(center_pad(sample, self.inner_sides), condition)).permute(0, 2, 3, 1).flatten(1)
