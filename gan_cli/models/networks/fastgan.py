"""FastGAN (Liu et al., 2101.04775): networks for some hundreds of images.

The generator has one convolution at each resolution, and coarse maps gate the channels of fine ones (skip-layer
excitation). The discriminator judges overlapping parts of an image, and can have two decoders that reconstruct real
images from its feature maps, as its own auxiliary loss. `spectral` adds spectral normalization of all convolutions to
the normalization of their outputs, as in the authors' code; the paper names batch normalization alone.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, l1_loss, normalize

from gan_cli.config.options.image_sizes import downsampling_levels, padded_size
from gan_cli.device import to_device
from gan_cli.distributed.batch_share import own, whole
from gan_cli.models.conditioning import (
    CONCATENATED,
    PREDICTED,
    UNCONDITIONAL,
    ConditionalSequential,
    ConditioningSpec,
    concat_condition,
    conditional_norm,
)
from gan_cli.models.layers import (
    BATCH_STATISTICS,
    MINIBATCH_LAYERS,
    Discriminator,
    DiscriminatorOutput,
    build_normalization,
    center_crop,
    center_pad,
    channels_per_level,
    flatten_maps,
    init_layer,
)
from gan_cli.models.noise import NoiseInput
from gan_cli.tasks.condition import Condition, labels_of

GATED_LEVELS = 4  # the gate of a map comes from one with sides 16 times as small, or from the coarsest one
LEAST_SIDE = 6  # of the maps of which D judges parts
DECODER_DOUBLINGS = 4  # the most doublings of a decoder: 8 x 8 maps to images of 128 x 128, as in the paper


def _of_weights(initialization: str, normalization: str, *, spectral: bool) -> dict[str, Any]:
    """Returns the settings of `init_layer` for convolutions whose outputs are normalized."""
    return {"initialization": initialization, "normalization": "spectral" if spectral else normalization}


class SkipLayerExcitation(nn.Module):
    """Gates for the channels of fine maps from coarse maps `[N, inputs, h, w]`: `[N, outputs, 1, 1]` in 0 to 1.

    The coarse maps are averaged to 4 x 4; a 4 x 4 convolution, SiLU, a 1 x 1 convolution and a sigmoid follow (section
    3.1).
    """

    def __init__(self, inputs: int, outputs: int, **settings: Any) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.AdaptiveAvgPool2d(4),
            init_layer(nn.Conv2d(inputs, outputs, 4), **settings),
            nn.SiLU(),
            init_layer(nn.Conv2d(outputs, outputs, 1), **settings),
            nn.Sigmoid(),
        )

    def forward(self, coarse: Tensor) -> Tensor:
        return self.layers(coarse)


class FastGANGenerator(nn.Module):
    """Maps latents `[N, latent_dim]` to images `[N, C, H, W]` in [-1, 1], whose sides are 4 or more.

    Latents are scaled to the sphere of radius sqrt(latent_dim). The finest feature map has `base_channels` channels;
    each coarser one has twice as many, up to `max_multiplier` times `base_channels`.
    """

    normalizes_latent = True

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        latent_dim: int,
        base_channels: int,
        max_multiplier: int,
        normalization: str,
        initialization: str = "default",
        spectral: bool = False,
        conditions: ConditioningSpec = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        self.entry = concat_condition(conditions, CONCATENATED)
        channels, *self.sides = sample_shape
        height, width, levels = downsampling_levels(*padded_size(*self.sides))
        widths = channels_per_level(base_channels, levels, max_multiplier)[::-1]
        widths = [widths[0], *widths]  # the coarsest map has the width of the next one
        settings = _of_weights(initialization, normalization, spectral=spectral)

        def gated_linear_unit(width: int) -> list[nn.Module]:
            normalize = build_normalization(normalization, 2 * width, image=True)
            return [conditional_norm(normalize, 2 * width, conditions), nn.GLU(dim=1)]

        inputs = latent_dim + self.entry.added_features
        project = init_layer(nn.ConvTranspose2d(inputs, 2 * widths[0], (height, width), bias=False), **settings)
        self.project = ConditionalSequential(project, *gated_linear_unit(widths[0]))
        self.blocks = nn.ModuleList()
        for level, (wide, narrow) in enumerate(pairwise(widths), start=1):
            convolution = init_layer(nn.Conv2d(wide, 2 * narrow, 3, padding=1, bias=False), **settings)
            noise = NoiseInput(height << level, width << level)
            self.blocks.append(
                ConditionalSequential(nn.Upsample(scale_factor=2), convolution, noise, *gated_linear_unit(narrow))
            )
        self.gated_levels = min(GATED_LEVELS, levels)
        self.gates = nn.ModuleList(
            SkipLayerExcitation(widths[level], widths[level + self.gated_levels], **settings)
            for level in range(levels - self.gated_levels + 1)
        )
        last = nn.Conv2d(widths[-1], channels, 3, padding=1)
        of_last = _of_weights(initialization, "none", spectral=spectral)
        self.to_image = nn.Sequential(init_layer(last, **of_last), nn.Tanh())

    def forward(self, latent: Tensor, condition: Condition | None = None) -> Tensor:
        on_sphere = normalize(latent.float(), dim=1) * math.sqrt(latent.shape[1])
        maps = self.project(self.entry(on_sphere, condition)[:, :, None, None], condition)
        maps = maps.contiguous(memory_format=torch.channels_last)
        gates = [self.gates[0](maps)]
        for level, block in enumerate(self.blocks, start=1):
            maps = block(maps, condition)
            if level >= self.gated_levels:
                maps = maps * gates[level - self.gated_levels]
            if level < len(self.gates):
                gates.append(self.gates[level](maps))
        return center_crop(self.to_image(maps), self.sides)


class _Layers(NamedTuple):
    """How the convolutions of the discriminator are initialized and their outputs normalized."""

    initialization: str
    normalization: str
    spectral: bool

    def weights(self, convolution: nn.Conv2d, normalization: str | None = None) -> nn.Module:
        """Returns the convolution, initialized. `normalization` is that of its outputs, where it differs."""
        chosen = self.normalization if normalization is None else normalization
        return init_layer(convolution, **_of_weights(self.initialization, chosen, spectral=self.spectral))

    def normalize(self, channels: int) -> nn.Module:
        return build_normalization(self.normalization, channels, image=True)

    def normalized(self, convolution: nn.Conv2d) -> list[nn.Module]:
        """Returns the convolution, its normalization and leaky ReLU."""
        return [self.weights(convolution), self.normalize(convolution.out_channels), nn.LeakyReLU(0.2)]


class _DownBlock(nn.Module):
    """Halves the sides of maps: the mean of two convolutions and of average pooling with a 1 x 1 convolution."""

    def __init__(self, inputs: int, outputs: int, layers: _Layers) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *layers.normalized(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)),
            *layers.normalized(nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)),
        )
        self.direct = nn.Sequential(nn.AvgPool2d(2), *layers.normalized(nn.Conv2d(inputs, outputs, 1, bias=False)))

    def forward(self, maps: Tensor) -> Tensor:
        return (self.main(maps) + self.direct(maps)) / 2


def _decoder(inputs: int, doublings: int, channels: int, layers: _Layers) -> nn.Sequential:
    """Returns a small decoder: per doubling nearest upsampling, convolution, normalization and GLU; then an image."""
    parts: list[nn.Module] = []
    for _ in range(doublings):
        outputs = max(inputs // 2, 1)
        convolution = layers.weights(nn.Conv2d(inputs, 2 * outputs, 3, padding=1, bias=False))
        parts += [nn.Upsample(scale_factor=2), convolution, layers.normalize(2 * outputs), nn.GLU(dim=1)]
        inputs = outputs
    last = layers.weights(nn.Conv2d(inputs, channels, 3, padding=1), "none")
    return nn.Sequential(*parts, last, nn.Tanh())


class FastGANDiscriminator(Discriminator):
    """Maps images `[N, C, H, W]` in [-1, 1], whose sides are 4 or more, to logits `[N, h, w]`.

    The sides are halved until the shorter one of the maps is 6 to 11, or 4 if it is 8 in the image. A convolution 4 x 4
    without padding follows: of maps 8 x 8, it has one logit for each of 5 x 5 overlapping parts. Statistics of the
    batch are more channels of these maps. With `add_decoders`, it also reconstructs images whose sides are 16 or more.
    """

    batch_dependence_is_declared = True
    kept_maps: list[list[Tensor]] | None = None  # see `keeping_maps`

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        base_channels: int,
        max_multiplier: int,
        normalization: str,
        initialization: str = "default",
        spectral: bool = False,
        minibatch: str = "none",
        conditions: ConditioningSpec = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        self.entry = concat_condition(conditions, ("concat",))
        self.channels, *sides = sample_shape
        self.inner_sides = padded_size(*sides)
        height, width, self.levels = downsampling_levels(*self.inner_sides)
        halvings = max(self.levels - 1, 1) if min(height, width) < LEAST_SIDE else self.levels
        *self.widths, last_width = channels_per_level(base_channels, halvings + 1, max_multiplier)
        self.layers = _Layers(initialization, normalization, spectral)
        first = nn.Conv2d(self.channels + self.entry.added_features, self.widths[0], 4, stride=2, padding=1)
        self.blocks = nn.ModuleList([nn.Sequential(self.layers.weights(first), nn.LeakyReLU(0.2))])
        self.blocks.extend(_DownBlock(narrow, wide, self.layers) for narrow, wide in pairwise(self.widths))
        self.last = nn.Sequential(*self.layers.normalized(nn.Conv2d(self.widths[-1], last_width, 1, bias=False)))
        positions = math.prod(side >> halvings for side in self.inner_sides)
        statistics = MINIBATCH_LAYERS[minibatch](last_width * positions)
        self.add_module(BATCH_STATISTICS, statistics)
        inputs = last_width + getattr(statistics, "added_features", 0)
        self.score = self.layers.weights(nn.Conv2d(inputs, 1, 4, bias=False))
        self.conditioning_mode = conditions.mode
        if self.conditioning_mode in ("projection", *PREDICTED):
            bias = self.conditioning_mode in PREDICTED
            self.classes = self.layers.weights(nn.Conv2d(inputs, conditions.size, 4, bias=bias))

    def add_decoders(self) -> None:
        """Adds the decoders of the whole image, from maps of base 8 x 8, and of a quarter, from maps of 16 x 16.

        The sides of both results are half of the image's, or less with more than DECODER_DOUBLINGS. Without maps of
        16 x 16, in images of less than 32 pixels, the quarter is decoded from those of 8 x 8.
        """
        self.decoded_levels = {"whole": self.levels - 2, "quarter": max(self.levels - 3, 0)}
        for name, level in self.decoded_levels.items():
            doublings = min(level if name == "whole" else level + 1, DECODER_DOUBLINGS)
            self.add_module(name, _decoder(self.widths[level], doublings, self.channels, self.layers))

    def _encode(self, sample: Tensor, condition: Condition | None) -> list[Tensor]:
        """Returns the maps of each level, finest first."""
        maps = [self.blocks[0](self.entry(center_pad(sample, self.inner_sides), condition))]
        for block in self.blocks[1:]:
            maps.append(block(maps[-1]))
        if self.kept_maps is not None:
            self.kept_maps.append(maps)
        return maps

    @contextlib.contextmanager
    def keeping_maps(self) -> Iterator[list[list[Tensor]]]:
        """While entered, adds the maps of each pass to a list, from which `reconstruction` can take them."""
        found: list[list[Tensor]] = []
        self.kept_maps = found
        try:
            yield found
        finally:
            self.kept_maps = None

    def features(self, sample: Tensor, condition: Condition | None) -> Tensor:
        """Returns the maps `[N, F, h + 3, w + 3]` from which the logits are computed."""
        maps = self.last(self._encode(sample, condition)[-1])
        statistics = self.get_submodule(BATCH_STATISTICS)
        if isinstance(statistics, nn.Identity):
            return maps
        flat = flatten_maps(maps)
        added = statistics(flat)[:, flat.shape[1] :, None, None]
        return torch.cat([maps, added.expand(-1, -1, *maps.shape[2:])], 1)

    def discriminate(self, sample: Tensor, condition: Condition | None = None) -> DiscriminatorOutput:
        """Returns the logits, and class logits that are averaged over positions in the modes `acgan` and `tags`.

        In the mode `projection` each position adds the product with the class.
        """
        features = self.features(self.view(sample, condition), condition)
        logits = self.score(features).squeeze(1)
        if self.conditioning_mode == "projection":
            logits = logits + (self.classes(features) * labels_of(condition)[:, :, None, None]).sum(1)
        predicted = self.classes(features).mean((2, 3)) if self.conditioning_mode in PREDICTED else None
        return DiscriminatorOutput(logits, predicted)

    def reconstruction(
        self,
        real: Tensor,
        condition: Condition | None,
        random: torch.Generator,
        maps: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Returns E|d_1(f_1) - x'| + E|d_2(f_2) - x''|: the decoders' error on real samples x (section 3.2).

        x' is the whole image, reduced to the decoder's sides. x'' is a quarter of it, chosen for each sample, and f_2
        are the maps of this quarter. The distance is the mean over pixels. `maps` are those of these samples, if D has
        computed them already.
        """
        seen = self.view(real, condition)
        maps, image = maps or self._encode(seen, condition), center_pad(seen, self.inner_sides)
        corners = to_device(own(torch.randint(2, (2, whole(len(real))), generator=random), dim=1), real.device)
        complete = self.get_submodule("whole")(maps[self.decoded_levels["whole"]])
        quarter = self.get_submodule("quarter")(quarter_of(maps[self.decoded_levels["quarter"]], *corners))
        return _distance(complete, image) + _distance(quarter, quarter_of(image, *corners))


def quarter_of(maps: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Returns one quarter of each of the maps `[N, C, H, W]`: `[N, C, H / 2, W / 2]`.

    `rows` and `columns`, `[N]`, are 0 or 1: the upper or the lower half, and the left or the right one.
    """
    halves = maps.unflatten(3, (2, -1)).unflatten(2, (2, -1))
    return halves[torch.arange(len(maps), device=maps.device), :, rows, :, columns]


def _distance(decoded: Tensor, image: Tensor) -> Tensor:
    """Returns the mean absolute difference of an image from a larger one, which is reduced by averaging."""
    return l1_loss(decoded, avg_pool2d(image, image.shape[2] // decoded.shape[2]))
