"""What generators start from: random vectors of a named distribution, drawn on the CPU for every device alike."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

NEAREST_ONE = 1 - 1e-9  # at 1 itself a normal value would be infinite


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

    def to_normal(self, latents: Tensor, truncation: float | None = None) -> Tensor:
        """The same latents as standard normal ones, float64, by their quantiles; `from_normal` turns them back.

        A path between two latents that is one of normal latents there keeps to this distribution, and within
        `truncation`, all along.
        """
        if self.distribution == "normal" and truncation is None:
            return latents.double()
        return torch.erfinv(self._shares(latents, truncation).clamp(-NEAREST_ONE, NEAREST_ONE)) * math.sqrt(2)

    def _shares(self, latents: Tensor, truncation: float | None) -> Tensor:
        """Where each value stands among all that can be drawn: evenly between -1 and 1."""
        if self.distribution == "uniform":
            return latents.double() / min(truncation or 1.0, 1.0)
        assert truncation is not None
        return torch.erf(latents.double() / math.sqrt(2)) / math.erf(truncation / math.sqrt(2))

    def from_normal(self, normals: Tensor, truncation: float | None = None) -> Tensor:
        """float32 latents of this distribution from standard normal ones."""
        shares = torch.erf(normals / math.sqrt(2))
        if self.distribution == "uniform":
            return (shares * min(truncation or 1.0, 1.0)).float()
        if truncation is None:
            return normals.float()
        cut = (shares * math.erf(truncation / math.sqrt(2))).clamp(-NEAREST_ONE, NEAREST_ONE)
        return (torch.erfinv(cut) * math.sqrt(2)).float()
