"""U-Nets: generators that make an image from an image, with skip connections between encoder and decoder."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, pad

from gan_cli.models.conditioning import (
    CONCATENATED,
    UNCONDITIONAL,
    ConditionalLayer,
    ConditioningSpec,
    concat_condition,
    conditional_norm,
)
from gan_cli.models.layers import build_normalization, channels_per_level, init_layer
from gan_cli.tasks.condition import Condition, image_parts

Convolution = type[nn.Conv2d] | type[nn.ConvTranspose2d]


class UNetGenerator(nn.Module):
    """Maps the image (and mask) of a condition to an image `[N, C, H, W]` in [-1, 1] of the same sides.

    The encoder halves the sides `levels` times and the decoder doubles them, by transposed convolutions; each level of
    the decoder also gets the encoder's maps of its size (1505.04597; as a generator, 1611.07004). Sides that cannot be
    halved so often are padded. A latent, if there is one, is added to the coarsest maps. With `gated`, convolutions are
    gated (1806.03589, section 3.1).
    """

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        given: Condition,
        latent_dim: int,
        base_channels: int,
        max_multiplier: int,
        levels: int,
        normalization: str = "none",
        initialization: str = "default",
        conditions: ConditioningSpec = UNCONDITIONAL,
        *,
        gated: bool = False,
    ) -> None:
        super().__init__()
        self.entry = concat_condition(conditions, CONCATENATED)
        self.multiple = 2**levels
        widths = channels_per_level(base_channels, levels + 1, max_multiplier)
        settings: Any = {"initialization": initialization, "normalization": normalization}

        def block(kind: Convolution, inputs: int, outputs: int, *sizes: int) -> nn.Module:
            return _Block(kind, inputs, outputs, *sizes, gated=gated, conditions=conditions, **settings)

        inputs = sum(part.shape[1] for part in image_parts(given)) + self.entry.added_features
        self.first = block(nn.Conv2d, inputs, widths[0], 3, 1)
        self.down = nn.ModuleList(block(nn.Conv2d, wide, deep, 4, 2) for wide, deep in pairwise(widths))
        self.middle = block(nn.Conv2d, widths[-1], widths[-1], 3, 1)
        self.project = nn.Linear(latent_dim, widths[-1], bias=False) if latent_dim else None
        joined = [*(2 * width for width in widths[1:-1]), widths[-1]]  # with the encoder's maps, except the coarsest
        self.up = nn.ModuleList(
            block(nn.ConvTranspose2d, deep, wide, 4, 2) for deep, wide in zip(joined, widths, strict=False)
        )
        self.last = init_layer(nn.Conv2d(2 * widths[0], sample_shape[0], 3, padding=1), initialization=initialization)

    def forward(self, latent: Tensor, condition: Condition) -> Tensor:
        images = self.entry(torch.cat(image_parts(condition), 1), condition)
        height, width = images.shape[2:]
        padded = pad(images, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate")
        maps = self.first(padded.contiguous(memory_format=torch.channels_last), condition)
        skips = []
        for down in self.down:
            skips.append(maps)
            maps = down(maps, condition)
        if self.project is not None:
            maps = maps + self.project(latent)[:, :, None, None].to(maps.dtype)
        maps = self.middle(maps, condition)
        for up, skip in zip(reversed(self.up), reversed(skips), strict=True):
            maps = torch.cat([up(maps, condition), skip], 1)
        return torch.tanh(self.last(maps))[:, :, :height, :width]


class _Block(ConditionalLayer):
    """A convolution, transposed or not, a normalization that may depend on the condition, and leaky ReLU or a gate."""

    def __init__(
        self,
        kind: Convolution,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int,
        *,
        gated: bool,
        conditions: ConditioningSpec,
        **settings: Any,
    ) -> None:
        super().__init__()
        channels = 2 * outputs if gated else outputs
        self.convolution = init_layer(kind(inputs, channels, kernel, stride, 1), **settings)
        normalize = build_normalization(settings["normalization"], channels, image=True)
        self.normalization = conditional_norm(normalize, channels, conditions)
        self.activation = _Gate() if gated else nn.LeakyReLU(0.2)

    def forward(self, maps: Tensor, condition: Condition) -> Tensor:
        maps = self.convolution(maps)
        given = (condition,) if isinstance(self.normalization, ConditionalLayer) else ()
        return self.activation(self.normalization(maps, *given))


class _Gate(nn.Module):
    """Maps the halves a and b of the channels to ELU(a) * sigmoid(b) (gated convolution, 1806.03589, section 3.1)."""

    def forward(self, maps: Tensor) -> Tensor:
        features, gate = maps.chunk(2, 1)
        return elu(features) * torch.sigmoid(gate)


GatedUNetGenerator = partial(UNetGenerator, gated=True)
