"""Distances between the distributions of two sets of features: Frechet and kernel (MMD).

A function whose name ends in `s` takes `masks`, bool `[R, N]`, and returns `[R]` values: one for each subset of the N
samples that a row selects. `resampling` makes such masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

ROWS_AT_ONCE = 1000  # rows of a distance matrix in memory


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian fitted to features: mean `[F]` and covariance `[F, F]`, float64."""

    mean: Tensor
    covariance: Tensor

    @cached_property
    def root(self) -> Tensor:
        """The symmetric square root of the covariance, `[F, F]`."""
        values, vectors = torch.linalg.eigh(self.covariance)
        return vectors * values.clamp_min(0).sqrt() @ vectors.T


def fit_gaussian(features: Tensor) -> Gaussian:
    """Returns a Gaussian fitted to features `[N, F]`. Raises ValueError for fewer than 2 rows."""
    if len(features) < 2:
        raise ValueError("a covariance needs at least 2 samples of each")
    features = features.double()
    return Gaussian(features.mean(0), torch.atleast_2d(torch.cov(features.T)))


def frechet_between(one: Gaussian, other: Gaussian) -> float:
    """The Frechet distance between two Gaussians, at least 0.

    |mean - mean'|^2 + tr(C + C' - 2 (C C')^(1/2)) (Dowson and Landau, 1982; for GANs 1706.08500).
    """
    shift = (one.mean - other.mean).square().sum()
    cross = torch.linalg.eigvalsh(one.root @ other.covariance @ one.root).clamp_min(0).sqrt().sum()
    return max(0.0, (shift + one.covariance.trace() + other.covariance.trace() - 2 * cross).item())


def frechet_distances(real: Gaussian, fake: Tensor, masks: Tensor) -> Tensor:
    """The Frechet distances, float64 `[R]`, of the subsets of `fake` `[N, F]` that `masks` select."""
    return torch.tensor([frechet_between(real, fit_gaussian(fake[row])) for row in masks], dtype=torch.float64)


def kernel_distances(real: Tensor, fake: Tensor, masks: Tensor) -> Tensor:
    """The kernel distances, float64 `[R]`, of the subsets of `fake` `[N, F]` that `masks` select.

    Each is the squared maximum mean discrepancy (MMD) with the kernel (x.y / F + 1)^3; with Inception features this is
    KID (1801.01401). The estimate is unbiased: 0 on average for equal distributions, and sometimes a little below 0.
    Computed from all pairs. Raises ValueError for fewer than 2 rows.
    """
    if min(len(real), int(masks.sum(1).min())) < 2:
        raise ValueError("an unbiased estimate needs at least 2 samples of each")
    real, fake, weights = real.double(), fake.double(), masks.double()
    count = weights.sum(1)
    with_real = torch.cat([_kernel(part, real).mean(1) for part in fake.split(ROWS_AT_ONCE)])
    among_real = torch.stack([_kernel(part, real).sum() for part in real.split(ROWS_AT_ONCE)]).sum() - _own(real).sum()
    among_fake = -(weights @ _own(fake))
    for part, of_part in zip(fake.split(ROWS_AT_ONCE), weights.split(ROWS_AT_ONCE, 1), strict=True):
        among_fake += (of_part @ _kernel(part, fake) * weights).sum(1)
    return (
        among_real / (len(real) * (len(real) - 1))
        + among_fake / (count * (count - 1))
        - 2 * (weights @ with_real) / count
    )


def _kernel(rows: Tensor, others: Tensor) -> Tensor:
    return _cubed((rows @ others.T).div_(rows.shape[1]).add_(1))


def _own(rows: Tensor) -> Tensor:
    """The kernel of each row with itself, `[N]`."""
    return _cubed(rows.square().sum(1) / rows.shape[1] + 1)


def _cubed(values: Tensor) -> Tensor:
    return values * values * values  # several times faster than pow


def pairwise_distances(rows: Tensor, others: Tensor) -> Tensor:
    """Euclidean distances `[N, M]`. Computed without matrix products, so equal pairs have exactly equal distances."""
    return torch.cdist(rows, others, compute_mode="donot_use_mm_for_euclid_dist")
