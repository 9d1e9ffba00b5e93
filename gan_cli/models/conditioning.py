"""Layers that feed the labels of a condition to a network, and the losses of a D that also predicts them.

The modes are `concat` (cGAN, 1411.1784), `projection` (1802.05637), `acgan` (1610.09585) and `tags` (1708.05509).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

from gan_cli.data.labels import Attribute
from gan_cli.tasks.condition import Condition, labels_of


class ConditioningSpec(NamedTuple):
    """How a network is conditioned."""

    mode: str = "none"  # or concat, projection, acgan, tags
    size: int = 0  # K, the columns of a condition
    embedding_dim: int = 0  # of a concatenated condition


UNCONDITIONAL = ConditioningSpec()
CONCATENATED = ("concat", "acgan", "tags")  # the modes in which G's latent gets the condition
PREDICTED = ("acgan", "tags")  # the modes in which D has an output for each class
RAREST = 1e-4  # the least probability of a tag at D's start


class ConcatCondition(nn.Module):
    """Concatenates an embedding of the condition to the input.

    Vectors `[N, L]` get `embedding_dim` more values; images `[N, C, H, W]` get as many more channels, each constant
    over the image.
    """

    def __init__(self, conditions: ConditioningSpec) -> None:
        super().__init__()
        self.added_features = conditions.embedding_dim
        self.embed = nn.Linear(conditions.size, conditions.embedding_dim, bias=False)
        nn.init.normal_(self.embed.weight)  # the scale of latents and pixels

    def forward(self, values: Tensor, condition: Condition) -> Tensor:
        return _concatenated(values, self.embed(labels_of(condition)))


class ConcatLabels(nn.Module):
    """Concatenates the condition `[N, K]`, zeros and ones, to vectors `[N, L]`, or as K channels to images."""

    def __init__(self, conditions: ConditioningSpec) -> None:
        super().__init__()
        self.added_features = conditions.size

    def forward(self, values: Tensor, condition: Condition) -> Tensor:
        return _concatenated(values, labels_of(condition))


def _concatenated(values: Tensor, vectors: Tensor) -> Tensor:
    """Concatenates `[N, E]` to vectors `[N, L]`, or as channels that are constant over the image to `[N, C, H, W]`."""
    planes = vectors.view(*vectors.shape, *[1] * (values.ndim - 2))
    return torch.cat([values, planes.expand(-1, -1, *values.shape[2:]).to(values.dtype)], 1)


class IgnoreCondition(nn.Identity):
    """Returns the input unchanged."""

    added_features = 0

    def forward(self, values: Tensor, condition: Condition | None = None) -> Tensor:
        return values


def concat_condition(
    conditions: ConditioningSpec, modes: Sequence[str]
) -> ConcatCondition | ConcatLabels | IgnoreCondition:
    """Returns a layer that concatenates the condition to a network's input if the mode is one of `modes`."""
    if conditions.mode not in modes:
        return IgnoreCondition()
    return ConcatLabels(conditions) if conditions.mode == "tags" else ConcatCondition(conditions)


class ConditionalLayer(nn.Module):
    """Base class of layers whose `forward` takes `(input, condition)`."""


class ConditionalNorm(ConditionalLayer):
    """A normalization with a scale and shift computed from the condition (1802.05637, section 4).

    The weights start at zero, so the layer starts as the plain normalization.
    """

    def __init__(self, normalization: nn.Module, channels: int, size: int) -> None:
        super().__init__()
        self.normalization = normalization
        self.scale, self.shift = (nn.Linear(size, channels, bias=False) for _ in range(2))
        for layer in (self.scale, self.shift):
            nn.init.zeros_(layer.weight)

    def forward(self, maps: Tensor, condition: Condition) -> Tensor:
        normalized, labels = self.normalization(maps), labels_of(condition)
        shape = (maps.shape[0], -1, *[1] * (maps.ndim - 2))  # len(maps) would fix the batch size of an export
        return normalized * (1 + self.scale(labels).view(shape)) + self.shift(labels).view(shape)


def conditional_norm(normalization: nn.Module, channels: int, conditions: ConditioningSpec) -> nn.Module:
    """Returns a normalization of `channels` that depends on the condition if the mode is `projection`."""
    depends = conditions.mode == "projection"
    return ConditionalNorm(normalization, channels, conditions.size) if depends else normalization


class ConditionalSequential(nn.Sequential, ConditionalLayer):
    """A `Sequential` that passes the condition to each layer that takes one."""

    def forward(self, values: Tensor, condition: Condition | None = None) -> Tensor:
        for layer in self:
            values = layer(values, condition) if isinstance(layer, ConditionalLayer) else layer(values)
        return values


def classification_loss(class_logits: Tensor, labels: Tensor, attributes: Sequence[Attribute]) -> Tensor:
    """Returns the cross-entropy of logits `[N, K]`, mean over samples, sum over attributes. Unknown labels add 0."""
    losses = [
        -(log_softmax(class_logits[:, attribute.columns], 1) * labels[:, attribute.columns]).sum(1).mean()
        for attribute in attributes
    ]
    return torch.stack(losses).sum()


def tag_loss(tag_logits: Tensor, labels: Tensor, attributes: Sequence[Attribute]) -> Tensor:
    """Returns the binary cross-entropy of logits `[N, K]`, mean over samples and over the K tags (1708.05509, 3.3).

    Each column is a tag, also the values of an attribute of which a sample has one. So a sample may have no value of an
    attribute, or several, and D's outputs are independent. Unknown labels add 0.
    """
    known = torch.cat([labels[:, each.columns].sum(1, keepdim=True).expand(-1, each.size) for each in attributes], 1)
    losses = binary_cross_entropy_with_logits(tag_logits, labels, reduction="none")
    return (losses * (known > 0)).mean()


def start_at_frequencies(
    tag_layer: nn.Linear | nn.Conv2d, frequencies: Sequence[float], attributes: Sequence[Attribute]
) -> None:
    """Sets the biases of outputs for tags to log(p / (1 - p)), p the frequency of a tag where its attribute is known.

    With biases of 0, D's first updates would only learn that most tags are rare. `frequencies` are shares of all
    samples, of which each has at most one value of an attribute. The layer has outputs for one sample or for several. p
    is kept within [RAREST, 1 - RAREST].
    """
    known = [min(sum(frequencies[each.columns]), 1.0) or 1.0 for each in attributes for _ in range(each.size)]
    chances = torch.tensor(frequencies, dtype=torch.float64) / torch.tensor(known, dtype=torch.float64)
    with torch.no_grad():
        assert tag_layer.bias is not None
        tag_layer.bias.copy_(chances.logit(RAREST).repeat(len(tag_layer.bias) // len(chances)))


def classification_accuracy(class_logits: Tensor, labels: Tensor, attributes: Sequence[Attribute]) -> float:
    """Returns the fraction of known labels with the largest logit of their attribute; 0 if no label is known."""
    correct = known = 0
    for attribute in attributes:
        target = labels[:, attribute.columns]
        predicted = class_logits[:, attribute.columns].argmax(1, keepdim=True)
        correct += int(target.gather(1, predicted).sum())
        known += int(target.sum())
    return correct / max(known, 1)
