"""How far the distribution of one set of features is from another's: Frechet and kernel distance, precision, recall.

What ends in `s` and takes `chosen`, bool `[R, N]`, gives `[R]` figures, one of each row's samples: see `resampling`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

ROWS_AT_ONCE = 1000  # of the matrix of distances that is held


@dataclass(frozen=True)
class Gaussian:
    """Fitted to features: mean `[F]` and covariance `[F, F]` in float64."""

    mean: Tensor
    covariance: Tensor

    @cached_property
    def root(self) -> Tensor:
        """Of the covariance, a symmetric matrix without negative eigenvalues."""
        values, vectors = torch.linalg.eigh(self.covariance)
        return vectors * values.clamp_min(0).sqrt() @ vectors.T


def fitted(features: Tensor) -> Gaussian:
    """To `[N, F]`; ValueError for fewer than 2 rows."""
    if len(features) < 2:
        raise ValueError("a covariance needs at least 2 samples of each")
    features = features.double()
    return Gaussian(features.mean(0), torch.atleast_2d(torch.cov(features.T)))


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """Between the Gaussians fitted to features `[N, F]` and `[M, F]` (Dowson and Landau, 1982; for GANs 1706.08500).

    |mean - mean'|^2 + tr(C + C' - 2 (C C')^(1/2)), at least 0. Computed in float64. ValueError for fewer than 2 rows.
    """
    return frechet_between(fitted(one), fitted(other))


def frechet_between(one: Gaussian, other: Gaussian) -> float:
    shift = (one.mean - other.mean).square().sum()
    cross = torch.linalg.eigvalsh(one.root @ other.covariance @ one.root).clamp_min(0).sqrt().sum()
    return max(0.0, (shift + one.covariance.trace() + other.covariance.trace() - 2 * cross).item())


def frechet_distances(real: Gaussian, fake: Tensor, chosen: Tensor) -> Tensor:
    return torch.tensor([frechet_between(real, fitted(fake[row])) for row in chosen], dtype=torch.float64)


def kernel_distance(one: Tensor, other: Tensor) -> float:
    """Squared maximum mean discrepancy of features `[N, F]`, `[M, F]`, unbiased: on average 0 of equal distributions.

    With the kernel (x.y / F + 1)^3 (1801.01401; of Inception's features this is KID). It can be a little below 0.
    Computed in float64 of all pairs. ValueError for fewer than 2 rows.
    """
    return kernel_distances(one, other, torch.ones(1, len(other), dtype=torch.bool)).item()


def kernel_distances(real: Tensor, fake: Tensor, chosen: Tensor) -> Tensor:
    if min(len(real), int(chosen.sum(1).min())) < 2:
        raise ValueError("an unbiased estimate needs at least 2 samples of each")
    real, fake, weights = real.double(), fake.double(), chosen.double()
    count = weights.sum(1)
    with_real = torch.cat([_kernel(part, real).mean(1) for part in _parts(fake)])
    among_real = torch.stack([_kernel(part, real).sum() for part in _parts(real)]).sum() - _own(real).sum()
    among_fake = -(weights @ _own(fake))
    for part, of_part in zip(_parts(fake), weights.split(ROWS_AT_ONCE, 1), strict=True):
        among_fake += (of_part @ _kernel(part, fake) * weights).sum(1)
    return (
        among_real / (len(real) * (len(real) - 1))
        + among_fake / (count * (count - 1))
        - 2 * (weights @ with_real) / count
    )


def _kernel(rows: Tensor, others: Tensor) -> Tensor:
    return _cubed((rows @ others.T).div_(rows.shape[1]).add_(1))


def _own(rows: Tensor) -> Tensor:
    """Of each row with itself."""
    return _cubed(rows.square().sum(1) / rows.shape[1] + 1)


def _cubed(values: Tensor) -> Tensor:
    return values * values * values  # several times as fast as a power


class Coverage(NamedTuple):
    """Shares in 0..1: of fakes that are like real samples, and of real samples that the fakes are like."""

    precision: float
    recall: float


def precision_recall(real: Tensor, fake: Tensor, neighbours: int = 3) -> Coverage:
    """Improved precision and recall of features `[N, F]` and `[M, F]` (1904.06991).

    A sample is like a set if it is within the distance of one of the set's members to its `neighbours`-th nearest other
    member. ValueError if a set has no more members than that.
    """
    if min(len(real), len(fake)) <= neighbours:
        raise ValueError(f"a sample needs {neighbours} neighbours beside itself")
    real, fake = real.float(), fake.float()
    return Coverage(_share_within(fake, real, neighbours), _share_within(real, fake, neighbours))


def _share_within(samples: Tensor, members: Tensor, neighbours: int) -> float:
    radii = torch.cat([distances(part, members).kthvalue(neighbours + 1).values for part in _parts(members)])
    return torch.cat([(distances(part, members) <= radii).any(1) for part in _parts(samples)]).float().mean().item()


def _parts(rows: Tensor) -> tuple[Tensor, ...]:
    return rows.split(ROWS_AT_ONCE)


def distances(rows: Tensor, others: Tensor) -> Tensor:
    """`[N, M]`, a sample's distance to itself being exactly what it is to its copy."""
    return torch.cdist(rows, others, compute_mode="donot_use_mm_for_euclid_dist")
