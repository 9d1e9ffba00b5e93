"""What generators start from: random vectors of a named distribution, drawn on the CPU for every device alike."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Latent(NamedTuple):
    """The size of a latent vector and the distribution of its values: `normal` (standard), or `uniform` in [-1, 1]."""

    dim: int
    distribution: str = "normal"

    def draw(self, random: torch.Generator, count: int | None = None, truncation: float | None = None) -> Tensor:
        """`[count, dim]`, or one `[dim]`.

        `truncation` cuts the normal distribution off at that many standard deviations (1809.11096, section 3.1), and
        the uniform one at that value.
        """
        shape = (self.dim,) if count is None else (count, self.dim)
        if self.distribution == "uniform":
            return (2 * torch.rand(shape, generator=random) - 1) * min(truncation or 1.0, 1.0)
        if truncation is None:
            return torch.randn(shape, generator=random)
        return nn.init.trunc_normal_(torch.empty(shape), a=-truncation, b=truncation, generator=random)
