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
        """`[count, dim]`, or one `[dim]`; `truncation` is as for `fill`."""
        return self.fill(torch.empty((self.dim,) if count is None else (count, self.dim)), random, truncation)

    def fill(self, latents: Tensor, random: torch.Generator, truncation: float | None = None) -> Tensor:
        """Draws all values of `latents`, in place.

        `truncation` cuts the normal distribution off at that many standard deviations (1809.11096, section 3.1), and
        the uniform one at that value.
        """
        if self.distribution == "uniform":
            return latents.uniform_(generator=random).mul_(2).sub_(1).mul_(min(truncation or 1.0, 1.0))
        if truncation is None:
            return latents.normal_(generator=random)
        return nn.init.trunc_normal_(latents, a=-truncation, b=truncation, generator=random)
