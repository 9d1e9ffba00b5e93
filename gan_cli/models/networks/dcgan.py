"""DCGAN (Radford et al., 1511.06434): strided convolutions down, transposed convolutions up."""

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
    Discriminator,
    center_crop,
    center_pad,
    channels_per_level,
    downsampling_layers,
    flatten_maps,
    init_layer,
    normalized_relu,
)
from gan_cli.tasks.condition import Condition


class DCGANGenerator(nn.Module):
    """Maps latents `[N, latent_dim]` to images `[N, C, H, W]` in [-1, 1], whose sides are 4 or more.

    The finest feature map has `base_channels` channels. Each coarser map has twice as many channels as the map before,
    up to 8 times `base_channels`.
    """

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        latent_dim: int,
        base_channels: int,
        normalization: str,
        initialization: str = "default",
        dropout: float = 0.0,
        conditions: ConditioningSpec = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        self.entry = concat_condition(conditions, CONCATENATED)
        channels, *self.sides = sample_shape
        base_height, base_width, levels = downsampling_levels(*padded_size(*self.sides))
        widths = channels_per_level(base_channels, levels)[::-1]
        self.base_shape = (widths[0], base_height, base_width)
        settings: Any = {"initialization": initialization, "normalization": normalization}
        activate = partial(normalized_relu, normalization=normalization, dropout=dropout, conditions=conditions)
        inputs = latent_dim + self.entry.added_features
        self.project = init_layer(nn.Linear(inputs, widths[0] * base_height * base_width), **settings)
        layers = activate(widths[0])
        for wide, narrow in pairwise(widths):
            up = nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1)
            layers += [init_layer(up, **settings), *activate(narrow)]
        last = nn.ConvTranspose2d(widths[-1], channels, 4, stride=2, padding=1)
        layers += [init_layer(last, initialization=initialization), nn.Tanh()]
        self.layers = ConditionalSequential(*layers)

    def forward(self, latent: Tensor, condition: Condition | None = None) -> Tensor:
        maps = self.project(self.entry(latent, condition)).unflatten(1, self.base_shape)
        images = self.layers(maps.contiguous(memory_format=torch.channels_last), condition)
        return center_crop(images, self.sides)


class DCGANDiscriminator(Discriminator):
    """Maps images `[N, C, H, W]` in [-1, 1], whose sides are 4 or more, to logits `[N]`.

    As in the paper, the first layer is not normalized.
    """

    batch_dependence_is_declared = True
    kernel = 4

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        base_channels: int,
        normalization: str,
        initialization: str = "default",
        dropout: float = 0.0,
        minibatch: str = "none",
        conditions: ConditioningSpec = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        self.entry = concat_condition(conditions, ("concat",))
        channels, *sides = sample_shape
        self.inner_sides = padded_size(*sides)
        base_height, base_width, levels = downsampling_levels(*self.inner_sides)
        widths = channels_per_level(base_channels, levels)
        settings: Any = {"initialization": initialization, "normalization": normalization}
        *before, first = self.first_layers(channels + self.entry.added_features, widths[0])
        self.layers = nn.Sequential(*before, *downsampling_layers(first, widths, self.kernel, dropout, **settings))
        features = widths[-1] * base_height * base_width
        self.add_head(features, minibatch=minibatch, conditions=conditions, **settings)

    def first_layers(self, channels: int, width: int) -> list[Any]:
        """Returns layers that halve the sides of images with so many channels. The last one is a convolution."""
        return [nn.Conv2d(channels, width, 4, stride=2, padding=1)]

    def features(self, sample: Tensor, condition: Condition | None) -> Tensor:
        return flatten_maps(self.layers(self.entry(center_pad(sample, self.inner_sides), condition)))
