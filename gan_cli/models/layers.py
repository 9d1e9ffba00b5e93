"""Pieces that the architectures share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrizations

from gan_cli.models.conditioning import UNCONDITIONAL, Conditions

NORMALIZATIONS = ("none", "batch", "layer", "instance", "spectral")
DCGAN_MULTIPLIER = 8  # the paper's widest layer has 8 times the channels of its narrowest (1511.06434)
Layer = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


def build_normalization(name: str, channels: int, *, image: bool) -> nn.Module:
    """The module that normalizes `[N, channels]` vectors, or `[N, channels, H, W]` maps if `image`.

    `none` and `spectral` give an identity: spectral normalization acts on weights (see `weighted`).
    """
    if name == "batch":
        return nn.BatchNorm2d(channels) if image else nn.BatchNorm1d(channels)
    if name == "layer":
        return nn.GroupNorm(1, channels)  # one group: over channels and space, as in WGAN-GP's critic
    if name == "instance" and image:
        return nn.InstanceNorm2d(channels, affine=True)
    if name in ("none", "spectral"):
        return nn.Identity()
    raise ValueError(f"no {name!r} normalization of {'images' if image else 'vectors'}")


def weighted(
    layer: Layer, *, initialization: str = "default", gain: float = 1.0, normalization: str = "none"
) -> nn.Module:
    """`layer` with its weight drawn by `initialization`, and divided by its norm if `normalization` is `spectral`.

    `default` leaves PyTorch's own draw, He's uniform with a = sqrt(5); `normal` draws N(0, 0.02^2) as DCGAN does;
    `xavier` (uniform) and `orthogonal` take `gain`. All but `default` set the bias to zero. Spectral normalization
    divides by the largest singular value (1802.05957).
    """
    if initialization == "normal":
        nn.init.normal_(layer.weight, std=0.02)
    elif initialization == "xavier":
        nn.init.xavier_uniform_(layer.weight, gain)
    elif initialization == "orthogonal":
        nn.init.orthogonal_(layer.weight, gain)
    elif initialization != "default":
        raise ValueError(f"no {initialization!r} initialization")
    if initialization != "default" and layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return parametrizations.spectral_norm(layer) if normalization == "spectral" else layer


def widths_of(base_channels: int, levels: int, max_multiplier: int = DCGAN_MULTIPLIER) -> list[int]:
    """Channels at each level, from the finest to the coarsest map."""
    return [base_channels * min(2**level, max_multiplier) for level in range(levels)]


def flattened(maps: Tensor) -> Tensor:
    """`[N, C, H, W]` as `[N, C * H * W]`; the gradient comes back in the memory layout that the maps have.

    Without that, all that is pointwise before it would walk two layouts at once, which is several times slower.
    """
    if maps.requires_grad and maps.is_contiguous(memory_format=torch.channels_last):
        maps.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
    return maps.flatten(1)


def cut_to(images: Tensor, sides: Sequence[int]) -> Tensor:
    """The middle of images `[N, C, H, W]`, of these sides; they themselves if they are no larger."""
    (top, rows), (left, columns) = (
        ((have - wanted) // 2, wanted) for have, wanted in zip(images.shape[2:], sides, strict=True)
    )
    if (rows, columns) == tuple(images.shape[2:]):
        return images
    return images[:, :, top : top + rows, left : left + columns]


def padded_to(images: Tensor, sides: Sequence[int]) -> Tensor:
    """Images `[N, C, H, W]` in the middle of zeros, with these sides; they themselves if they have them."""
    height, width = (wanted - have for have, wanted in zip(images.shape[2:], sides, strict=True))
    if height == width == 0:
        return images
    return pad(images, (width // 2, width - width // 2, height // 2, height - height // 2))


def build_dropout(share: float) -> list[nn.Module]:
    """Sets a share of the values to zero in training; of images too, value by value. No module if the share is 0."""
    return [nn.Dropout(share)] if share > 0 else []


def binomial_blur() -> nn.Module:
    """Maps `[N, C, H, W]` weighted 1, 2, 1 along each side, where the edge repeats; what alternates from pixel to pixel
    goes."""
    return nn.Sequential(nn.AvgPool2d(2, 1, padding=1, count_include_pad=False), nn.AvgPool2d(2, 1))


class MinibatchStddev(nn.Module):
    """Appends to features `[N, C, ...]` one more: the mean over features of their standard deviation over the batch.

    (1710.10196, section 3.) The batch is cut into groups of `group` samples, or as many as divide it.
    """

    added = 1

    def __init__(self, group: int = 4) -> None:
        super().__init__()
        self.group = group

    def forward(self, features: Tensor) -> Tensor:
        count = len(features)
        size = largest_group(count, min(self.group, count))
        grouped = features.unflatten(0, (size, count // size))
        spread = (grouped.var(0, correction=0) + 1e-8).sqrt().flatten(1).mean(1)  # `[N / size]`
        shape = (count, 1, *features.shape[2:])
        column = spread.repeat(size).view(-1, 1, *[1] * (features.ndim - 2)).expand(shape)
        return torch.cat([features, column], 1)


class MinibatchDiscrimination(nn.Module):
    """Appends to vectors `[N, C]` `kernels` more: how many others of the batch are near (1606.03498, section 3.2)."""

    def __init__(self, features: int, kernels: int = 8, dimensions: int = 5) -> None:
        super().__init__()
        self.added = kernels
        self.project = nn.Linear(features, kernels * dimensions, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        places = self.project(features).unflatten(1, (self.added, -1))
        apart = (places.unsqueeze(0) - places.unsqueeze(1)).abs().sum(3)  # `[N, N, kernels]`
        near = torch.exp(-apart).sum(1) - 1  # without the sample itself
        return torch.cat([features, near], 1)


def largest_group(count: int, most: int) -> int:
    """The largest number up to `most` that divides `count`."""
    return max(size for size in range(1, most + 1) if count % size == 0)


class MinibatchDeviations(nn.Module):
    """Appends to vectors `[N, C]` the deviations of `kernels` learned projections of them within a group of samples.

    Standard deviations as in 1710.10196, section 3, but each of its own kind and of what D finds worth comparing, as in
    1606.03498, section 3.2: a generator that varies in too few ways is told apart by them. Groups are `group` samples
    that follow each other, or as many as divide the batch.
    """

    group = 16

    def __init__(self, features: int, kernels: int = 32, group: int = group) -> None:
        super().__init__()
        self.added, self.group = kernels, group
        self.project = nn.Linear(features, kernels)

    def forward(self, features: Tensor) -> Tensor:
        size = largest_group(len(features), self.group)
        grouped = self.project(features).float().unflatten(0, (-1, size))
        spread = (grouped.var(1, correction=0) + 1e-8).sqrt()  # `[N / size, kernels]`
        return torch.cat([features, spread.repeat_interleave(size, 0).to(features.dtype)], 1)


def build_minibatch(name: str, features: int) -> tuple[nn.Module, int]:
    """What tells D's last vectors `[N, features]` of the rest of the batch, and how many features it adds."""
    if name == "stddev":
        return MinibatchStddev(), MinibatchStddev.added
    if name == "deviations":
        deviations = MinibatchDeviations(features)
        return deviations, deviations.added
    if name == "discrimination":
        module = MinibatchDiscrimination(features)
        return module, module.added
    return nn.Identity(), 0


MIXING = (_BatchNorm, MinibatchStddev, MinibatchDiscrimination, MinibatchDeviations)  # what looks at other samples


class DiscriminatorOutput(NamedTuple):
    """D's logits `[N]`, high for real; and those of the classes `[N, K]` if D names them, as in AC-GAN."""

    logits: Tensor
    class_logits: Tensor | None = None


class Discriminator(nn.Module, ABC):
    """What all discriminators share: the way from features `[N, F]` to a judgement.

    A subclass calls `add_head` when it is built, and defines `features`.
    """

    mixes_by_known_layers = False  # whether no sample meets others of its batch but in layers of MIXING

    def add_head(
        self,
        features: int,
        *,
        minibatch: str = "none",
        initialization: str = "default",
        normalization: str = "none",
        conditions: Conditions = UNCONDITIONAL,
    ) -> None:
        self.beside, added = build_minibatch(minibatch, features)
        score = nn.Linear(features + added, 1)
        self.score = weighted(score, initialization=initialization, normalization=normalization)
        self.way = conditions.way
        if self.way in ("projection", "acgan"):
            classes = nn.Linear(features + added, conditions.size, bias=self.way == "acgan")
            self.classes = weighted(classes, initialization=initialization, normalization=normalization)

    def keeps_apart(self, count: int) -> bool:
        """Whether two batches of `count` samples can be judged in one pass, neither changing what is made of the other.

        True of networks that judge each sample by itself, or in groups which divide the batch, and say by
        `mixes_by_known_layers` that they do nothing else.
        """
        if not self.mixes_by_known_layers:
            return False
        mixing = [module for module in self.modules() if isinstance(module, MIXING)]
        return all(isinstance(module, MinibatchDeviations) and count % module.group == 0 for module in mixing)

    @abstractmethod
    def features(self, sample: Tensor, condition: Tensor | None) -> Tensor:
        """What the judgement is made from, `[N, F]`."""

    def judge(self, sample: Tensor, condition: Tensor | None = None) -> DiscriminatorOutput:
        features = self.beside(self.features(sample, condition))
        logits = torch.squeeze(self.score(features), 1)
        if self.way == "projection":
            return DiscriminatorOutput(logits + (self.classes(features) * condition).sum(1))
        return DiscriminatorOutput(logits, self.classes(features) if self.way == "acgan" else None)

    def forward(self, sample: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.judge(sample, condition).logits


def output_activation(sample_shape: tuple[int, ...]) -> nn.Module:
    """Images end in tanh, in [-1, 1]; points are unbounded."""
    return nn.Tanh() if len(sample_shape) > 1 else nn.Identity()
