"""Layers and helpers that the architectures share, and the base class of discriminators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrizations

from gan_cli.distributed.batch_share import current_share, own, whole
from gan_cli.distributed.collectives import gathered
from gan_cli.models.conditioning import PREDICTED, UNCONDITIONAL, ConditioningSpec, conditional_norm
from gan_cli.models.equalized import equalize
from gan_cli.tasks.condition import Condition, labels_of

DCGAN_MULTIPLIER = 8  # the paper's widest layer has 8 times the channels of its narrowest (1511.06434)
BATCH_STATISTICS = "beside"  # name of D's layer of batch statistics in checkpoints
ACTIVATIONS = (nn.LeakyReLU, nn.ReLU)  # the layers whose outputs are feature maps
Layer = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


def build_normalization(name: str, channels: int, *, image: bool) -> nn.Module:
    """Returns the module that normalizes vectors `[N, channels]`, or maps `[N, channels, H, W]` if `image`.

    `none` and `spectral` return an identity, because spectral normalization acts on weights (see `init_layer`). Raises
    ValueError if the name is unknown, or if `instance` or `pixel` is used for vectors.
    """
    if name == "batch":
        return nn.BatchNorm2d(channels) if image else nn.BatchNorm1d(channels)
    if name == "layer":
        return nn.GroupNorm(1, channels)  # one group: over channels and space, as in WGAN-GP's critic
    if name == "instance" and image:
        return nn.InstanceNorm2d(channels, affine=True)
    if name == "pixel" and image:
        return PixelNorm()
    if name in ("none", "spectral"):
        return nn.Identity()
    raise ValueError(f"no {name!r} normalization of {'images' if image else 'vectors'}")


def init_layer(
    layer: Layer, *, initialization: str = "default", gain: float = 1.0, normalization: str = "none"
) -> nn.Module:
    """Initializes the weight of `layer` and adds spectral normalization (1802.05957) if `normalization` is `spectral`.

    `default` keeps PyTorch's initialization, He's uniform with a = sqrt(5); `normal` draws N(0, 0.02^2) as DCGAN does;
    `xavier` (uniform), `orthogonal` and `equalized` (see `equalize`) use `gain`. All but `default` set the bias to
    zero. Raises ValueError if the initialization is unknown.
    """
    if initialization == "normal":
        nn.init.normal_(layer.weight, std=0.02)
    elif initialization == "xavier":
        nn.init.xavier_uniform_(layer.weight, gain)
    elif initialization == "orthogonal":
        nn.init.orthogonal_(layer.weight, gain)
    elif initialization == "equalized":
        equalize(layer, gain)
    elif initialization != "default":
        raise ValueError(f"no {initialization!r} initialization")
    if initialization != "default" and layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return parametrizations.spectral_norm(layer) if normalization == "spectral" else layer


def channels_per_level(base_channels: int, levels: int, max_multiplier: int = DCGAN_MULTIPLIER) -> list[int]:
    """Returns the channels of maps, finest first. They double, up to `max_multiplier` times `base_channels`."""
    return [base_channels * min(2**level, max_multiplier) for level in range(levels)]


def flatten_maps(maps: Tensor) -> Tensor:
    """Flattens maps `[N, C, H, W]` to `[N, C * H * W]` and keeps the memory layout of the maps for their gradient.

    Otherwise the layers before this one would mix two memory layouts in backward, which is several times slower.
    """
    if maps.requires_grad and maps.is_contiguous(memory_format=torch.channels_last):
        maps.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
    return maps.flatten(1)


def center_crop(images: Tensor, sides: Sequence[int]) -> Tensor:
    """Crops the centre of images `[N, C, H, W]` to `sides`; returns `images` itself if they have these sides."""
    if [*images.shape[2:]] == [*sides]:
        return images
    top, left = ((side - target) // 2 for side, target in zip(images.shape[2:], sides, strict=True))
    return images[:, :, top : top + sides[0], left : left + sides[1]]


def center_pad(images: Tensor, sides: Sequence[int]) -> Tensor:
    """Pads images `[N, C, H, W]` with zeros to `sides`, half on each end; returns `images` if they have these sides."""
    height, width = (target - side for side, target in zip(images.shape[2:], sides, strict=True))
    if height == width == 0:
        return images
    return pad(images, (width // 2, width - width // 2, height // 2, height - height // 2))


def build_dropout(probability: float) -> list[nn.Module]:
    """Returns a list of one layer that drops single values, also of images, or `[]` if `probability` is 0."""
    return [SharedDropout(probability)] if probability > 0 else []


def normalized_relu(channels: int, normalization: str, dropout: float, conditions: ConditioningSpec) -> list[nn.Module]:
    """Returns the layers after a convolution of a generator: normalization, by the condition too, ReLU and dropout."""
    normalize = build_normalization(normalization, channels, image=True)
    return [conditional_norm(normalize, channels, conditions), nn.ReLU(inplace=True), *build_dropout(dropout)]


def downsampling_layers(
    first: nn.Conv2d, widths: Sequence[int], kernel: int, dropout: float, **settings: Any
) -> list[nn.Module]:
    """Returns the convolution `first`, which is not normalized, and convolutions that halve the sides of its maps.

    `widths` are the numbers of their output channels. Leaky ReLU and dropout follow each of them. `settings` are the
    initialization and normalization.
    """
    layers = [init_layer(first, **settings), nn.LeakyReLU(0.2, inplace=True), *build_dropout(dropout)]
    for narrow, wide in pairwise(widths):
        layers += [
            init_layer(nn.Conv2d(narrow, wide, kernel, stride=2, padding=1), **settings),
            build_normalization(settings["normalization"], wide, image=True),
            nn.LeakyReLU(0.2, inplace=True),
            *build_dropout(dropout),
        ]
    return layers


def binomial_blur() -> nn.Module:
    """Returns a blur of maps `[N, C, H, W]` with the kernel (1, 2, 1) / 4 along each side and replicated edges."""
    return nn.Sequential(nn.AvgPool2d(2, 1, padding=1, count_include_pad=False), nn.AvgPool2d(2, 1))


class SharedDropout(nn.Dropout):
    """Dropout (1207.0580) that draws for the samples of all processes, of which each uses its own."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or current_share() is None:
            return super().forward(input)
        layout = torch.channels_last if input.is_contiguous(memory_format=torch.channels_last) else None
        ones = torch.ones(whole(len(input)), *input.shape[1:], dtype=input.dtype, device=input.device)
        ones = ones if layout is None else ones.contiguous(memory_format=layout)
        return input * own(super().forward(ones))


class PixelNorm(nn.Module):
    """Divides the features of each position of maps `[N, C, H, W]` by their root mean square (1710.10196, 4.2)."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps * maps.float().square().mean(1, keepdim=True).add(1e-8).rsqrt().to(maps.dtype)


class MinibatchStddev(nn.Module):
    """Appends one feature to vectors `[N, C]` or maps `[N, C, H, W]`: their standard deviation over the batch.

    It is averaged over the other dimensions, and the same at each position of maps. From 1710.10196, section 3. The
    batch is split into groups of `group` samples, or of fewer if `group` does not divide N.
    """

    added_features = 1
    group = 4

    def forward(self, features: Tensor) -> Tensor:
        batch = gathered(features)
        size = largest_divisor(len(batch), self.group)
        grouped = batch.unflatten(0, (size, -1))
        spread = (grouped.var(0, correction=0) + 1e-8).sqrt().flatten(1).mean(1)  # `[N / size]`
        repeated = own(spread.repeat(size)).view(-1, *[1] * (features.ndim - 1))
        return torch.cat([features, repeated.expand(-1, -1, *features.shape[2:])], 1)


class MinibatchDiscrimination(nn.Module):
    """Appends `kernels` features to vectors `[N, C]`: the similarity to the rest of the batch (1606.03498, 3.2)."""

    def __init__(self, features: int, kernels: int = 8, dimensions: int = 5) -> None:
        super().__init__()
        self.added_features = kernels
        self.project = nn.Linear(features, kernels * dimensions, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        projected = self.project(features).unflatten(1, (self.added_features, -1))  # `[N, kernels, dimensions]`
        batch = gathered(projected)
        distances = (batch.unsqueeze(0) - projected.unsqueeze(1)).abs().sum(3)  # `[N, N, kernels]`
        similarity = torch.exp(-distances).sum(1) - 1  # without the sample itself
        return torch.cat([features, similarity], 1)


def largest_divisor(count: int, limit: int) -> int:
    """Returns the largest number up to `limit` that divides `count`."""
    return max(size for size in range(1, limit + 1) if count % size == 0)


class MinibatchDeviations(nn.Module):
    """Appends `kernels` features to vectors `[N, C]`: standard deviations of learned projections within a group.

    It combines the standard deviation of 1710.10196, section 3, with the learned projections of 1606.03498, section
    3.2, so that D can recognize a generator of too little variety. A group is `group` consecutive samples, or fewer if
    `group` does not divide N.
    """

    group = 16

    def __init__(self, features: int, kernels: int = 32, group: int = group) -> None:
        super().__init__()
        self.added_features, self.group = kernels, group
        self.project = nn.Linear(features, kernels)

    def forward(self, features: Tensor) -> Tensor:
        batch = gathered(self.project(features).float())
        size = largest_divisor(len(batch), self.group)
        spread = (batch.unflatten(0, (-1, size)).var(1, correction=0) + 1e-8).sqrt()  # `[N / size, kernels]`
        return torch.cat([features, own(spread.repeat_interleave(size, 0)).to(features.dtype)], 1)


# The layers that add statistics of the batch to vectors `[N, features]`.
MINIBATCH_LAYERS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda features: nn.Identity(),
    "stddev": lambda features: MinibatchStddev(),
    "deviations": MinibatchDeviations,
    "discrimination": MinibatchDiscrimination,
}
# layers whose output for a sample depends on the other samples of the batch
BATCH_DEPENDENT = (_BatchNorm, MinibatchStddev, MinibatchDiscrimination, MinibatchDeviations)


class DiscriminatorOutput(NamedTuple):
    """The outputs of the discriminator."""

    logits: Tensor  # `[N]`, or `[N, h, w]` with one for each patch of an image; high for real samples
    class_logits: Tensor | None = None  # `[N, K]` in the modes `acgan` and `tags`


class Discriminator(nn.Module, ABC):
    """Base class of discriminators. A subclass defines `features`, and calls `add_head` in its `__init__`."""

    # True if only layers of BATCH_DEPENDENT let one sample of a batch influence another
    batch_dependence_is_declared = False
    # (sample, condition): what this network sees of a sample, which depends on the task; `build_networks` sets it
    view: Callable[[Tensor, Any], Tensor] = staticmethod(lambda sample, condition: sample)

    def add_head(
        self,
        features: int,
        *,
        minibatch: str = "none",
        initialization: str = "default",
        normalization: str = "none",
        conditions: ConditioningSpec = UNCONDITIONAL,
    ) -> None:
        """Adds the last layers: statistics of the batch as features, then the real/fake logit.

        In the modes `projection`, `acgan` and `tags`, one more layer has an output for each class.
        """
        batch_statistics = MINIBATCH_LAYERS[minibatch](features)
        self.add_module(BATCH_STATISTICS, batch_statistics)
        features += getattr(batch_statistics, "added_features", 0)
        settings: Any = {"initialization": initialization, "normalization": normalization}
        self.score = init_layer(nn.Linear(features, 1), **settings)
        self.conditioning_mode = conditions.mode
        if self.conditioning_mode in ("projection", *PREDICTED):
            bias = self.conditioning_mode in PREDICTED
            self.classes = init_layer(nn.Linear(features, conditions.size, bias=bias), **settings)

    @property
    def tag_layer(self) -> nn.Linear | nn.Conv2d | None:
        """The layer with an output for each tag, whose bias starts at the tags' frequencies; None if there is none.

        A subclass that does not call `add_head` returns its own.
        """
        return cast(nn.Linear, self.classes) if self.conditioning_mode == "tags" else None

    def can_concatenate_real_and_fake(self, count: int) -> bool:
        """Returns whether one forward pass over two batches of `count` samples is known to equal two passes.

        No layer may mix the samples of a batch, except within groups whose size divides `count`.
        """
        if not self.batch_dependence_is_declared:
            return False
        dependent = self._batch_dependent_layers
        return all(isinstance(module, MinibatchDeviations) and count % module.group == 0 for module in dependent)

    @cached_property
    def _batch_dependent_layers(self) -> list[nn.Module]:
        """The layers that mix samples of a batch. Cached, since a network keeps its layers."""
        return [module for module in self.modules() if isinstance(module, BATCH_DEPENDENT)]

    @abstractmethod
    def features(self, sample: Tensor, condition: Condition | None) -> Tensor:
        """Returns the features `[N, F]` from which the logits are computed."""

    def discriminate(self, sample: Tensor, condition: Condition | None = None) -> DiscriminatorOutput:
        """Returns the real/fake logits and, in the modes `acgan` and `tags`, the class logits."""
        features = self.get_submodule(BATCH_STATISTICS)(self.features(self.view(sample, condition), condition))
        logits = torch.squeeze(self.score(features), 1)
        if self.conditioning_mode == "projection":
            return DiscriminatorOutput(logits + (self.classes(features) * labels_of(condition)).sum(1))
        return DiscriminatorOutput(logits, self.classes(features) if self.conditioning_mode in PREDICTED else None)

    def feature_maps(self, sample: Tensor, condition: Condition | None) -> list[Tensor]:
        """Returns the outputs of all activation layers for samples, in the order of the layers."""
        found: list[Tensor] = []
        layers = [module for module in self.modules() if isinstance(module, ACTIVATIONS)]
        hooks = [layer.register_forward_hook(lambda *given: found.append(given[2])) for layer in layers]
        try:
            self.discriminate(sample, condition)
        finally:
            for hook in hooks:
                hook.remove()
        return found

    def forward(self, sample: Tensor, condition: Condition | None = None) -> Tensor:
        return self.discriminate(sample, condition).logits
