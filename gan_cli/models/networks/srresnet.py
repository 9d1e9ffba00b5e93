"""SRResNet with a residual discriminator, as for anime faces (Jin et al., 1708.05509).

The generator has its residual blocks at maps of about 16 pixels and enlarges them by PixelShuffle (SRResNet,
1609.04802). The discriminator has no normalization, which its gradient penalty DRAGAN would not allow.
"""

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
    conditional_norm,
)
from gan_cli.models.layers import (
    Discriminator,
    build_normalization,
    center_crop,
    center_pad,
    channels_per_level,
    flatten_maps,
    init_layer,
    normalized_relu,
)
from gan_cli.models.residual import Residual, doubling_layers, equal_positions
from gan_cli.tasks.condition import Condition

BLOCK_SIDE = 16  # of the maps with the residual blocks, in the paper's networks for 128 pixels
DOUBLINGS = 3  # at most, of the sides of these maps
SLOPE = 0.2  # of the leaky ReLU


class SRResNetGenerator(nn.Module):
    """Maps latents `[N, latent_dim]` to images `[N, C, H, W]` in [-1, 1], whose sides are 4 or more.

    All maps have `base_channels` channels. The `blocks` residual blocks work on maps whose shorter side is 16 to 31 in
    images of 32 to 255 pixels; it is half the image's in smaller images and an eighth in larger ones.
    """

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        latent_dim: int,
        base_channels: int,
        blocks: int,
        normalization: str,
        initialization: str = "default",
        conditions: ConditioningSpec = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        self.entry = concat_condition(conditions, CONCATENATED)
        channels, *self.sides = sample_shape
        inner = padded_size(*self.sides)
        doublings = min(max((min(inner) // BLOCK_SIDE).bit_length() - 1, 1), DOUBLINGS)
        self.coarsest = (base_channels, *(side >> doublings for side in inner))
        settings: Any = {"initialization": initialization, "normalization": normalization}
        activate = partial(normalized_relu, base_channels, normalization, 0.0, conditions)

        def convolution(outputs: int = base_channels) -> nn.Module:
            return init_layer(nn.Conv2d(base_channels, outputs, 3, padding=1, bias=False), **settings)

        def block() -> Residual:
            last = build_normalization(normalization, base_channels, image=True)
            return Residual(
                convolution(), *activate(), convolution(), conditional_norm(last, base_channels, conditions)
            )

        values = self.coarsest[0] * self.coarsest[1] * self.coarsest[2]
        inputs = latent_dim + self.entry.added_features
        self.project = init_layer(nn.Linear(inputs, values, bias=False), **settings)
        self.first = ConditionalSequential(*activate())
        self.blocks = ConditionalSequential(*(block() for _ in range(blocks)), *activate())
        self.enlarge = ConditionalSequential(
            *doubling_layers(doublings, lambda: equal_positions(convolution(4 * base_channels)), activate)
        )
        last = nn.Conv2d(base_channels, channels, 9, padding=4)
        self.to_image = nn.Sequential(init_layer(last, initialization=initialization), nn.Tanh())

    def forward(self, latent: Tensor, condition: Condition | None = None) -> Tensor:
        maps = self.project(self.entry(latent, condition)).unflatten(1, self.coarsest)
        maps = self.first(maps.contiguous(memory_format=torch.channels_last), condition)
        maps = maps + self.blocks(maps, condition)
        return center_crop(self.to_image(self.enlarge(maps, condition)), self.sides)


class SRResNetDiscriminator(Discriminator):
    """Maps images `[N, C, H, W]` in [-1, 1], whose sides are 4 or more, to logits `[N]`.

    Convolutions of stride 2 halve the sides. Before each but the first there are `blocks` residual blocks. The paper's
    D has such blocks at the coarsest maps too: 10 in all for images of 128 pixels, where this one has 8. The finest
    maps have `base_channels` channels; each coarser one has twice as many, up to `max_multiplier` times that.
    """

    batch_dependence_is_declared = True

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        base_channels: int,
        max_multiplier: int,
        blocks: int,
        normalization: str = "none",
        initialization: str = "default",
        minibatch: str = "none",
        conditions: ConditioningSpec = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        self.entry = concat_condition(conditions, ("concat",))
        channels, *sides = sample_shape
        self.inner_sides = padded_size(*sides)
        height, width, levels = downsampling_levels(*self.inner_sides)
        widths = channels_per_level(base_channels, levels, max_multiplier)
        settings: Any = {"initialization": initialization, "normalization": normalization}

        def halving(inputs: int, outputs: int) -> list[nn.Module]:
            return [init_layer(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), **settings), nn.LeakyReLU(SLOPE)]

        def block(size: int) -> list[nn.Module]:
            first, last = (init_layer(nn.Conv2d(size, size, 3, padding=1), **settings) for _ in range(2))
            return [Residual(first, nn.LeakyReLU(SLOPE), last), nn.LeakyReLU(SLOPE)]

        layers = halving(channels + self.entry.added_features, widths[0])
        for narrow, wide in pairwise(widths):
            layers += [layer for _ in range(blocks) for layer in block(narrow)]
            layers += halving(narrow, wide)
        self.layers = nn.Sequential(*layers)
        self.add_head(widths[-1] * height * width, minibatch=minibatch, conditions=conditions, **settings)

    def features(self, sample: Tensor, condition: Condition | None) -> Tensor:
        return flatten_maps(self.layers(self.entry(center_pad(sample, self.inner_sides), condition)))
