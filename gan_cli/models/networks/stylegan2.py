"""StyleGAN2 (Karras et al., 1912.04958): styles, computed from latents, scale the weights of G's convolutions.

What is `auto` is as in the settings of 2006.06676. Up to 32 pixels, those for CIFAR-10: no style mixing, and a
discriminator without residual connections. Larger images have both, since these are off in the CIFAR-10 settings
alone, not in those that its authors' code chooses for 64 pixels. The mapping network has two layers below 128 pixels.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from gan_cli.config.options.image_sizes import downsampling_levels, padded_size
from gan_cli.distributed.batch_share import own, whole
from gan_cli.distributed.collectives import gathered, mean_over_processes
from gan_cli.models.conditioning import CONCATENATED, UNCONDITIONAL, ConditioningSpec, concat_condition
from gan_cli.models.equalized import equalize
from gan_cli.models.layers import (
    Discriminator,
    MinibatchStddev,
    center_crop,
    center_pad,
    channels_per_level,
    flatten_maps,
)
from gan_cli.models.modulation import (
    StyledConvolution,
    ToImage,
    activated,
    blur,
    full_precision,
    upsample_image,
)
from gan_cli.models.styles import StyleGenerator
from gan_cli.tasks.condition import Condition

SMALL_SIDE = 32  # at most this many pixels of the larger side: no style mixing, no residual connections
LARGE_SIDE = 128  # at least: MAPPING_LAYERS
MAPPING_LAYERS, FEW_MAPPING_LAYERS = 8, 2
MAPPING_RATE = 0.01  # the mapping network's learning rate as a share of the others'
STYLE_MIXING = 0.9  # the share of samples of two latents in training
MEAN_STYLE_DECAY = 0.995  # for each pass in training


def normalize_second_moment(values: Tensor) -> Tensor:
    """Divides vectors `[N, D]` by their root mean square."""
    return values * values.square().mean(1, keepdim=True).add(1e-8).rsqrt()


class StyleGAN2Generator(StyleGenerator):
    """Maps latents `[N, latent_dim]` to images `[N, C, H, W]`, whose sides are 4 or more. Values are not bounded.

    Each level adds an image to the upsampled sum of the coarser ones (the skip generator of section 4.1). Styles have
    as many values as latents. In every mode of conditioning the condition or its embedding is concatenated to the
    latent. In training mode a sample has, with the probability `style_mixing`, the styles of two latents: from a random
    layer on, those of another latent of the batch (1812.04948, section 3.1).
    """

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        latent_dim: int,
        base_channels: int,
        max_multiplier: int,
        mapping_layers: int | Literal["auto"] = "auto",
        style_mixing: float | Literal["auto"] = "auto",
        conditions: ConditioningSpec = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        side = max(sample_shape[1:])
        self.style_mixing = (0.0 if side <= SMALL_SIDE else STYLE_MIXING) if style_mixing == "auto" else style_mixing
        if mapping_layers == "auto":
            mapping_layers = MAPPING_LAYERS if side >= LARGE_SIDE else FEW_MAPPING_LAYERS
        if conditions.mode == "projection":
            conditions = conditions._replace(embedding_dim=latent_dim)
        self.entry = concat_condition(conditions, (*CONCATENATED, "projection"))
        self.parts = [latent_dim, *([self.entry.added_features] if self.entry.added_features else [])]
        inputs = [sum(self.parts)] + [latent_dim] * (mapping_layers - 1)
        self.mapping = nn.Sequential(*(activated(nn.Linear(count, latent_dim), rate=MAPPING_RATE) for count in inputs))
        self.register_buffer("mean_style", torch.zeros(latent_dim))

        channels, *self.image_sides = sample_shape
        height, width, levels = downsampling_levels(*padded_size(*self.image_sides))
        widths = channels_per_level(base_channels, levels + 1, max_multiplier)[::-1]
        at_level = [(height << level, width << level) for level in range(levels + 1)]
        self.constant = nn.Parameter(torch.randn(widths[0], height, width))
        self.layers = nn.ModuleList([StyledConvolution(widths[0], widths[0], at_level[0], latent_dim, upsample=False)])
        for (wide, narrow), sides in zip(pairwise(widths), at_level[1:], strict=True):
            self.layers.append(StyledConvolution(wide, narrow, sides, latent_dim, upsample=True))
            self.layers.append(StyledConvolution(narrow, narrow, sides, latent_dim, upsample=False))
        self.to_image = nn.ModuleList(ToImage(count, channels, latent_dim) for count in widths)
        larger = [max(sides) for sides in at_level]  # one style for each layer, and one for the last image
        self.sides = (larger[0], *(side for side in larger[1:] for _ in range(2)), larger[-1])

    def map(self, latent: Tensor, condition: Condition | None = None) -> Tensor:
        with full_precision(latent.device):
            style = self._style_of(latent, condition)
            if self.training and self.track_running_stats:
                self._update_mean_style(mean_over_processes(style.detach().mean(0)))
            styles = style.unsqueeze(1).expand(-1, len(self.sides), -1)
            if self.training and self.style_mixing > 0:
                neighbours = own(gathered(latent).roll(1, 0))
                styles = self._mix(styles, self._style_of(neighbours, condition))
        return styles

    def _style_of(self, latent: Tensor, condition: Condition | None) -> Tensor:
        """Returns w `[N, latent_dim]`. Latents and conditions are normalized to a second moment of 1 before."""
        parts = self.entry(latent.float(), condition).split(self.parts, dim=1)
        return self.mapping(torch.cat([normalize_second_moment(part) for part in parts], 1))

    def _update_mean_style(self, mean: Tensor) -> None:
        """Moves `mean_style` towards the mean of a batch. The first one replaces the zeros that it starts with."""
        self.mean_style.copy_(
            torch.where(self.mean_style.any(), self.mean_style.lerp(mean, 1 - MEAN_STYLE_DECAY), mean)
        )

    def _mix(self, styles: Tensor, other: Tensor) -> Tensor:
        """Replaces the styles of some samples, from a random layer on, by `other` `[N, latent_dim]`."""
        count, layers = styles.shape[:2]
        mixed = own(torch.rand(whole(count), device=styles.device)) < self.style_mixing
        cutoff = own(torch.randint(1, layers, (whole(count),), device=styles.device)).where(mixed, layers)
        kept = torch.arange(layers, device=styles.device) < cutoff[:, None]
        return torch.where(kept.unsqueeze(2), styles, other.unsqueeze(1))

    def synthesize(self, styles: Tensor) -> Tensor:
        maps = self.constant.expand(styles.shape[0], -1, -1, -1).contiguous(memory_format=torch.channels_last)
        maps = self.layers[0](maps, styles[:, 0])
        image = self.to_image[0](maps, styles[:, 1])
        for level, to_image in enumerate(self.to_image[1:], start=1):
            for layer in (2 * level - 1, 2 * level):
                maps = self.layers[layer](maps, styles[:, layer])
            image = upsample_image(image) + to_image(maps, styles[:, 2 * level + 1])
        return center_crop(image, self.image_sides)

    def forward(self, latent: Tensor, condition: Condition | None = None) -> Tensor:
        return self.synthesize(self.map(latent, condition))


class DownBlock(nn.Module):
    """Halves the sides of maps `[N, inputs, H, W]` by two 3x3 convolutions, the second filtered and with stride 2.

    With `residual`, adds the filtered and halved input by a 1x1 convolution, and multiplies both by sqrt(1/2).
    """

    def __init__(self, inputs: int, outputs: int, *, residual: bool) -> None:
        super().__init__()
        share = math.sqrt(0.5) if residual else 1.0
        self.first = activated(nn.Conv2d(inputs, inputs, 3, padding=1))
        self.second = activated(nn.Conv2d(inputs, outputs, 3, stride=2), share)
        self.direct = equalize(nn.Conv2d(inputs, outputs, 1, bias=False), share) if residual else None

    def forward(self, maps: Tensor) -> Tensor:
        halved = self.second(blur(self.first(maps), padding=2))
        return halved if self.direct is None else halved + self.direct(blur(maps, padding=1)[:, :, ::2, ::2])


class StyleGAN2Discriminator(Discriminator):
    """Maps images `[N, C, H, W]` in [-1, 1], whose sides are 4 or more, to logits `[N]`.

    `minibatch=stddev` adds the standard deviation within the batch as a channel of the coarsest maps, as in the paper;
    other statistics are of the last features. `residual=auto` adds residual connections above SMALL_SIDE pixels.
    """

    batch_dependence_is_declared = True

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        base_channels: int,
        max_multiplier: int,
        residual: bool | Literal["auto"] = "auto",
        normalization: str = "none",
        minibatch: str = "none",
        conditions: ConditioningSpec = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        residual = max(sample_shape[1:]) > SMALL_SIDE if residual == "auto" else residual
        self.entry = concat_condition(conditions, ("concat",))
        channels, *sides = sample_shape
        self.inner_sides = padded_size(*sides)
        height, width, levels = downsampling_levels(*self.inner_sides)
        widths = channels_per_level(base_channels, levels + 1, max_multiplier)
        first = activated(nn.Conv2d(channels + self.entry.added_features, widths[0], 1))
        blocks = [DownBlock(narrow, wide, residual=residual) for narrow, wide in pairwise(widths)]
        self.blocks = nn.Sequential(*first, *blocks)
        self.spread = MinibatchStddev() if minibatch == "stddev" else None
        count = widths[-1]
        inputs = count if self.spread is None else count + self.spread.added_features
        self.last = activated(nn.Conv2d(inputs, count, 3, padding=1))
        self.project = activated(nn.Linear(count * height * width, count))
        self.add_head(
            count,
            minibatch="none" if minibatch == "stddev" else minibatch,
            initialization="equalized",
            normalization=normalization,
            conditions=conditions,
        )

    def features(self, sample: Tensor, condition: Condition | None) -> Tensor:
        maps = self.blocks(self.entry(center_pad(sample, self.inner_sides), condition))
        if self.spread is not None:
            maps = self.spread(maps)
        return self.project(flatten_maps(self.last(maps)))
