"""The condition of samples: what both networks are given beside latents and samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Condition(NamedTuple):
    """The condition of N samples. Each part is a tensor with N rows, or None if the run has no such part.

    `labels` `[N, K]` are zeros and ones, a column for each class. `image` `[N, C, H, W]` in [-1, 1] is the source image
    or the known pixels. `mask` `[N, 1, H, W]` is 1 where the generator paints. `text` `[N, E]` is an encoded sentence.
    `camera` `[N, 2]` holds azimuth and elevation.
    """

    labels: Tensor | None = None
    image: Tensor | None = None
    mask: Tensor | None = None
    text: Tensor | None = None
    camera: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> Condition:
        """Returns the condition with `change` applied to each part."""
        return Condition(*(None if part is None else change(part) for part in self))

    def to(self, device: torch.device) -> Condition:
        return self.map(lambda part: part.to(device))

    def rows(self, selected: slice | Tensor) -> Condition:
        """Returns the condition of some of the samples."""
        return self.map(lambda part: part[selected])

    def twice(self) -> Condition:
        """Returns the condition of the samples followed by the same samples."""
        return self.map(lambda part: torch.cat([part, part]))

    def chunk(self, count: int) -> list[Condition]:
        """Splits the samples into `count` parts, as `torch.chunk` does."""
        chunks = [[None] * count if part is None else part.chunk(count) for part in self]
        return [Condition(*parts) for parts in zip(*chunks, strict=True)]


def labels_of(condition: Condition | Tensor | None) -> Tensor:
    """Returns the labels `[N, K]` of a condition. A plain tensor, which a network also takes, is the labels."""
    labels = condition.labels if isinstance(condition, Condition) else condition
    assert labels is not None, "the network is conditional, and the condition has no labels"
    return labels


def image_parts(condition: Condition) -> list[Tensor]:
    """Returns the parts that are images, `[N, C, H, W]` each: those that a network stacks as its input."""
    return [part for part in (condition.image, condition.mask) if part is not None]
