"""Metrics of nearest neighbours: precision, recall, density and coverage of a set of samples and of its subsets."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gan_cli.evaluation.metrics.distances import pairwise_distances

PRECISION_NEIGHBOURS = 3  # k of precision and recall, as in 1904.06991
DENSITY_NEIGHBOURS = 5  # k of density and coverage, as in 2002.09797
CANDIDATES = 32  # neighbours searched for 3 of the same half; fewer than 3 are found once in 8 million times
ROWS_AT_ONCE = 1000


class NeighbourMetrics(NamedTuple):
    """Metrics of R subsets of the fakes, each `[R]`. Precision, recall and coverage are shares from 0 to 1.

    Precision is the share of fakes inside the manifold of the reals, recall the share of reals inside that of the fakes
    (1904.06991). The radius of a member of a set is the distance to its PRECISION_NEIGHBOURS-th nearest other member. A
    sample is inside the manifold of the set if its distance to at least one member is at most the member's radius. For
    density and coverage, the neighbourhood of a real sample reaches to its k-th nearest other real sample, with
    k = DENSITY_NEIGHBOURS. Density is the number of neighbourhoods that contain a fake, averaged over the fakes and
    divided by k; 1 for equal densities. Coverage is the share of neighbourhoods that contain at least one fake; about
    1 - 2^-k for two sets of equal size from the same distribution.
    """

    precision: Tensor
    recall: Tensor
    density: Tensor
    coverage: Tensor


def neighbour_radii(members: Tensor) -> Tensor:
    """Distances `[N, 2]` of each row of `[N, F]` to its 3rd and 5th nearest other row. ValueError for too few rows.

    The columns are for PRECISION_NEIGHBOURS and DENSITY_NEIGHBOURS.
    """
    if len(members) <= DENSITY_NEIGHBOURS:
        raise ValueError(f"a sample needs {DENSITY_NEIGHBOURS} neighbours other than itself")
    found = [
        pairwise_distances(part, members)
        .topk(DENSITY_NEIGHBOURS + 1, largest=False)
        .values[:, [PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS]]
        for part in members.split(ROWS_AT_ONCE)
    ]
    return torch.cat(found)


def neighbour_metrics(real: Tensor, real_radii: Tensor, fake: Tensor, masks: Tensor) -> NeighbourMetrics:
    """Compares real features `[N, F]` with R subsets of fakes `[M, F]`, one for each row of `masks`, bool `[R, M]`.

    `real_radii` are the `neighbour_radii` of the real features.
    """
    radii = _radii_in_subsets(fake, masks)
    weights, count = masks.float(), masks.sum(1)
    precise = torch.zeros(len(fake), dtype=torch.bool)
    around = torch.zeros(len(fake))
    recalled, covered = torch.zeros(len(masks)), torch.zeros(len(masks))
    for part, radius in zip(real.split(ROWS_AT_ONCE), real_radii.split(ROWS_AT_ONCE), strict=True):
        distances = pairwise_distances(part, fake)
        precise |= (distances <= radius[:, :1]).any(0)
        inside = (distances < radius[:, 1:]).float()
        around += inside.sum(0)
        covered += (weights @ inside.T > 0).sum(1)
        recalled += torch.stack([(distances <= row).any(1).sum() for row in radii])
    return NeighbourMetrics(
        weights @ precise.float() / count,
        recalled / len(real),
        weights @ around / count / DENSITY_NEIGHBOURS,
        covered / len(real),
    )


def _radii_in_subsets(fake: Tensor, masks: Tensor) -> Tensor:
    """Distances `[R, M]` of each fake to its PRECISION_NEIGHBOURS-th nearest other in the same subset.

    -1 for fakes that are not in the subset. ValueError if a subset is too small.
    """
    if int(masks.sum(1).min()) <= PRECISION_NEIGHBOURS:
        raise ValueError(f"a sample needs {PRECISION_NEIGHBOURS} neighbours other than itself")
    count = min(CANDIDATES, len(fake) - 1)
    values, columns = [], []
    for start in range(0, len(fake), ROWS_AT_ONCE):
        part = pairwise_distances(fake[start : start + ROWS_AT_ONCE], fake)
        part[torch.arange(len(part)), torch.arange(start, start + len(part))] = math.inf  # a fake and itself
        found = part.topk(count, largest=False)
        values.append(found.values)
        columns.append(found.indices)
    distances, indices = torch.cat(values), torch.cat(columns)
    radii = torch.full(masks.shape, -1.0)
    for row, mask in zip(radii, masks, strict=True):
        enough = mask[indices].cumsum(1) >= PRECISION_NEIGHBOURS
        position = torch.where(enough.any(1), enough.int().argmax(1), count - 1)
        row[mask] = distances.gather(1, position.unsqueeze(1)).squeeze(1)[mask]
    return radii
