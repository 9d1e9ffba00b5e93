"""Which samples have which for neighbours: precision, recall, density and coverage of a set and of its halves."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gan_cli.metrics.distances import pairwise_distances

PRECISION_NEIGHBOURS = 3  # neighbours that precision and recall go by, as in 1904.06991
DENSITY_NEIGHBOURS = 5  # those of density and coverage, as in 2002.09797
LISTED = 32  # nearest ones of a fake among which those in its half are looked for: 3 are, but once in 8 million times
ROWS_AT_ONCE = 1000


class NeighbourMetrics(NamedTuple):
    """`[R]` of each. Precision, recall and coverage are shares; density is 1 where the fakes are as dense as the reals.

    Precision and recall are those of `distances.precision_recall`. Density: of how many real samples' neighbourhoods
    a fake is part, over DENSITY_NEIGHBOURS. Coverage: the share of real samples that have a fake within the distance of their
    DENSITY_NEIGHBOURS-th nearest other; of equal sets of equal size about 1 - 2^-DENSITY_NEIGHBOURS.
    """

    precision: Tensor
    recall: Tensor
    density: Tensor
    coverage: Tensor


def neighbour_radii(members: Tensor) -> Tensor:
    """`[N, 2]`: the distance of each of `[N, F]` to its PRECISION_NEIGHBOURS-th and DENSITY_NEIGHBOURS-th nearest other; ValueError for too few."""
    if len(members) <= DENSITY_NEIGHBOURS:
        raise ValueError(f"a sample needs {DENSITY_NEIGHBOURS} neighbours beside itself")
    found = [
        pairwise_distances(part, members)
        .topk(DENSITY_NEIGHBOURS + 1, largest=False)
        .values[:, [PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS]]
        for part in members.split(ROWS_AT_ONCE)
    ]
    return torch.cat(found)


def neighbour_metrics(real: Tensor, real_radii: Tensor, fake: Tensor, masks: Tensor) -> NeighbourMetrics:
    """Of real features `[N, F]` with their `radii`, and of those fakes `[M, F]` that a row of `masks` `[R, M]` has."""
    reach = _reach(fake, masks)
    weights, count = masks.float(), masks.sum(1)
    precise = torch.zeros(len(fake), dtype=torch.bool)
    around = torch.zeros(len(fake))
    recalled, covered = torch.zeros(len(masks)), torch.zeros(len(masks))
    for part, radius in zip(real.split(ROWS_AT_ONCE), real_radii.split(ROWS_AT_ONCE), strict=True):
        apart = pairwise_distances(part, fake)
        precise |= (apart <= radius[:, :1]).any(0)
        inside = (apart < radius[:, 1:]).float()
        around += inside.sum(0)
        covered += (weights @ inside.T > 0).sum(1)
        recalled += torch.stack([(apart <= row).any(1).sum() for row in reach])
    return NeighbourMetrics(
        weights @ precise.float() / count,
        recalled / len(real),
        weights @ around / count / DENSITY_NEIGHBOURS,
        covered / len(real),
    )


def _reach(fake: Tensor, masks: Tensor) -> Tensor:
    """`[R, M]`: how far each fake is from its PRECISION_NEIGHBOURS-th nearest other that is masks with it; -1 if it is not masks."""
    if int(masks.sum(1).min()) <= PRECISION_NEIGHBOURS:
        raise ValueError(f"a sample needs {PRECISION_NEIGHBOURS} neighbours beside itself")
    listed = min(LISTED, len(fake) - 1)
    far, which = [], []
    for start in range(0, len(fake), ROWS_AT_ONCE):
        apart = pairwise_distances(fake[start : start + ROWS_AT_ONCE], fake)
        apart[torch.arange(len(apart)), torch.arange(start, start + len(apart))] = math.inf  # itself
        found = apart.topk(listed, largest=False)
        far.append(found.values)
        which.append(found.indices)
    far_away, indices = torch.cat(far), torch.cat(which)
    reach = torch.full(masks.shape, -1.0)
    for row, mine in zip(reach, masks, strict=True):
        enough = mine[indices].cumsum(1) >= PRECISION_NEIGHBOURS
        place = torch.where(enough.any(1), enough.int().argmax(1), listed - 1)
        row[mine] = far_away.gather(1, place.unsqueeze(1)).squeeze(1)[mine]
    return reach
