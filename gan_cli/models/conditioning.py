"""How a condition `[N, K]` enters a network: beside its input, into its layers, or held against its features.

The three ways are those of cGAN (1411.1784), of projection (1802.05637) and of AC-GAN (1610.09585).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from gan_cli.data.labels import Attribute


class Conditions(NamedTuple):
    """`way` is none, concat, projection or acgan; `size` is K, the columns of a condition."""

    way: str = "none"
    size: int = 0
    embedding_dim: int = 0


UNCONDITIONAL = Conditions()


class Beside(nn.Module):
    """Puts an embedding of the condition beside vectors `[N, L]` or, as planes, beside images `[N, C, H, W]`."""

    def __init__(self, conditions: Conditions) -> None:
        super().__init__()
        self.added = conditions.embedding_dim
        self.embed = nn.Linear(conditions.size, conditions.embedding_dim, bias=False)
        nn.init.normal_(self.embed.weight)  # as large as latents and pixels are

    def forward(self, values: Tensor, condition: Tensor) -> Tensor:
        embedding = self.embed(condition)
        planes = embedding.view(*embedding.shape, *[1] * (values.ndim - 2))
        return torch.cat([values, planes.expand(-1, -1, *values.shape[2:]).to(values.dtype)], 1)


class Unmoved(nn.Identity):
    """Takes a condition and leaves it alone."""

    added = 0

    def forward(self, values: Tensor, condition: Tensor | None = None) -> Tensor:
        return values


def beside(conditions: Conditions, ways: Sequence[str]) -> Beside | Unmoved:
    """What puts the condition beside a network's input, if that is how it enters there."""
    return Beside(conditions) if conditions.way in ways else Unmoved()


class Conditional(nn.Module):
    """A layer that is called with the condition as well."""


class Modulated(Conditional):
    """A normalization whose scale and shift depend on the condition; at first they do not (1802.05637, section 4)."""

    def __init__(self, normalization: nn.Module, channels: int, size: int) -> None:
        super().__init__()
        self.normalization = normalization
        self.scale, self.shift = (nn.Linear(size, channels, bias=False) for _ in range(2))
        for layer in (self.scale, self.shift):
            nn.init.zeros_(layer.weight)

    def forward(self, maps: Tensor, condition: Tensor) -> Tensor:
        normalized = self.normalization(maps)
        shape = (maps.shape[0], -1, *[1] * (maps.ndim - 2))  # its len() would fix the batch size of an export
        return normalized * (1 + self.scale(condition).view(shape)) + self.shift(condition).view(shape)


def modulated(normalization: nn.Module, channels: int, conditions: Conditions) -> nn.Module:
    """`normalization` of `channels`, by the condition if that is how it enters."""
    if conditions.way != "projection":
        return normalization
    return Modulated(normalization, channels, conditions.size)


class Chain(nn.Sequential, Conditional):
    """Layers one after the other, each given the condition that takes one."""

    def forward(self, values: Tensor, condition: Tensor | None = None) -> Tensor:
        for layer in self:
            values = layer(values, condition) if isinstance(layer, Conditional) else layer(values)
        return values


def classification_loss(class_logits: Tensor, condition: Tensor, attributes: Sequence[Attribute]) -> Tensor:
    """-log p(class) of logits `[N, K]`, mean over samples, sum over attributes; 0 for one that is not known."""
    losses = [
        -(log_softmax(class_logits[:, attribute.columns], 1) * condition[:, attribute.columns]).sum(1).mean()
        for attribute in attributes
    ]
    return torch.stack(losses).sum()


def classification_accuracy(class_logits: Tensor, condition: Tensor, attributes: Sequence[Attribute]) -> float:
    """The share of known labels that have the largest of their attribute's logits."""
    right = known = 0
    for attribute in attributes:
        wanted = condition[:, attribute.columns]
        chosen = class_logits[:, attribute.columns].argmax(1, keepdim=True)
        right += int(wanted.gather(1, chosen).sum())
        known += int(wanted.sum())
    return right / max(known, 1)
