"""Latents, the random input vectors of a generator. They are drawn on the CPU, so every device gets the same ones."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

MAX_QUANTILE = 1 - 1e-9  # erfinv(1) is infinite


class LatentDistribution(NamedTuple):
    """The size of a latent vector and the distribution of its values: standard `normal`, or `uniform` in [-1, 1]."""

    dim: int
    distribution: str = "normal"

    def fill(self, latents: Tensor, random: torch.Generator, truncation: float | None = None) -> Tensor:
        """Draws all values of `latents` in place and returns it.

        `truncation` is the largest absolute value of a latent. For a normal distribution it is in standard deviations
        (1809.11096, section 3.1). For a uniform distribution it has an effect only if it is below 1.
        """
        if self.distribution == "uniform":
            return latents.uniform_(generator=random).mul_(2).sub_(1).mul_(min(truncation or 1.0, 1.0))
        if truncation is None:
            return latents.normal_(generator=random)
        return nn.init.trunc_normal_(latents, a=-truncation, b=truncation, generator=random)

    def to_normal(self, latents: Tensor, truncation: float | None = None) -> Tensor:
        """Maps latents to standard normal values of the same quantiles, float64; `from_normal` is the inverse.

        Use these values for interpolation: `from_normal` maps the interpolated values to latents that have this
        distribution and stay within `truncation`.
        """
        if self.distribution == "normal" and truncation is None:
            return latents.double()
        if self.distribution == "uniform":  # 2 F(x) - 1, where F is the cumulative distribution function
            quantiles = latents.double() / min(truncation or 1.0, 1.0)
        else:
            assert truncation is not None
            quantiles = torch.erf(latents.double() / math.sqrt(2)) / math.erf(truncation / math.sqrt(2))
        return torch.erfinv(quantiles.clamp(-MAX_QUANTILE, MAX_QUANTILE)) * math.sqrt(2)

    def from_normal(self, normals: Tensor, truncation: float | None = None) -> Tensor:
        """Maps standard normal values to float32 latents of this distribution."""
        quantiles = torch.erf(normals / math.sqrt(2))
        if self.distribution == "uniform":
            return (quantiles * min(truncation or 1.0, 1.0)).float()
        if truncation is None:
            return normals.float()
        cut = (quantiles * math.erf(truncation / math.sqrt(2))).clamp(-MAX_QUANTILE, MAX_QUANTILE)
        return (torch.erfinv(cut) * math.sqrt(2)).float()
