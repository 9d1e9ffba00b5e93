"""How far the distribution of one set of features is from another's: Frechet distance, precision and recall."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

ROWS_AT_ONCE = 1000  # of the matrix of distances that is held


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """Between the Gaussians fitted to features `[N, F]` and `[M, F]` (Dowson and Landau, 1982; for GANs 1706.08500).

    |mean - mean'|^2 + tr(C + C' - 2 (C C')^(1/2)), at least 0. Computed in float64. ValueError for fewer than 2 rows.
    """
    if min(len(one), len(other)) < 2:
        raise ValueError("a covariance needs at least 2 samples of each")
    first, second = one.double(), other.double()
    shift = (first.mean(0) - second.mean(0)).square().sum()
    covariance, other_covariance = (torch.atleast_2d(torch.cov(features.T)) for features in (first, second))
    root = _square_root(covariance)
    cross = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp_min(0).sqrt().sum()
    return max(0.0, (shift + covariance.trace() + other_covariance.trace() - 2 * cross).item())


def _square_root(covariance: Tensor) -> Tensor:
    """Of a symmetric matrix without negative eigenvalues."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp_min(0).sqrt() @ vectors.T


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
    radii = torch.cat([_distances(part, members).kthvalue(neighbours + 1).values for part in _parts(members)])
    return torch.cat([(_distances(part, members) <= radii).any(1) for part in _parts(samples)]).float().mean().item()


def _parts(rows: Tensor) -> tuple[Tensor, ...]:
    return rows.split(ROWS_AT_ONCE)


def _distances(rows: Tensor, others: Tensor) -> Tensor:
    """`[N, M]`, a sample's distance to itself being exactly what it is to its copy."""
    return torch.cdist(rows, others, compute_mode="donot_use_mm_for_euclid_dist")
