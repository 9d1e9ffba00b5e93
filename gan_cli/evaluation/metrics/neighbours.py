"""Which samples have which for neighbours: precision, recall, density and coverage of a set and of its halves."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gan_cli.evaluation.metrics.distances import distances

NEAR = 3  # neighbours that precision and recall go by, as in 1904.06991
AROUND = 5  # those of density and coverage, as in 2002.09797
LISTED = 32  # nearest ones of a fake among which those in its half are looked for: 3 are, but once in 8 million times
ROWS_AT_ONCE = 1000


class Shares(NamedTuple):
    """`[R]` of each. Precision, recall and coverage are shares; density is 1 where the fakes are as dense as the reals.

    Precision and recall are those of `distances.precision_recall`. Density: of how many real samples' neighbourhoods
    a fake is part, over AROUND. Coverage: the share of real samples that have a fake within the distance of their
    AROUND-th nearest other; of equal sets of equal size about 1 - 2^-AROUND.
    """

    precision: Tensor
    recall: Tensor
    density: Tensor
    coverage: Tensor


def radii(members: Tensor) -> Tensor:
    """`[N, 2]`: the distance of each of `[N, F]` to its NEAR-th and AROUND-th nearest other; ValueError for too few."""
    if len(members) <= AROUND:
        raise ValueError(f"a sample needs {AROUND} neighbours beside itself")
    found = [
        distances(part, members).topk(AROUND + 1, largest=False).values[:, [NEAR, AROUND]]
        for part in members.split(ROWS_AT_ONCE)
    ]
    return torch.cat(found)


def neighbour_shares(real: Tensor, real_radii: Tensor, fake: Tensor, chosen: Tensor) -> Shares:
    """Of real features `[N, F]` with their `radii`, and of those fakes `[M, F]` that a row of `chosen` `[R, M]` has."""
    reach = _reach(fake, chosen)
    weights, count = chosen.float(), chosen.sum(1)
    precise = torch.zeros(len(fake), dtype=torch.bool)
    around = torch.zeros(len(fake))
    recalled, covered = torch.zeros(len(chosen)), torch.zeros(len(chosen))
    for part, radius in zip(real.split(ROWS_AT_ONCE), real_radii.split(ROWS_AT_ONCE), strict=True):
        apart = distances(part, fake)
        precise |= (apart <= radius[:, :1]).any(0)
        inside = (apart < radius[:, 1:]).float()
        around += inside.sum(0)
        covered += (weights @ inside.T > 0).sum(1)
        recalled += torch.stack([(apart <= row).any(1).sum() for row in reach])
    return Shares(
        weights @ precise.float() / count, recalled / len(real), weights @ around / count / AROUND, covered / len(real)
    )


def _reach(fake: Tensor, chosen: Tensor) -> Tensor:
    """`[R, M]`: how far each fake is from its NEAR-th nearest other that is chosen with it; -1 if it is not chosen."""
    if int(chosen.sum(1).min()) <= NEAR:
        raise ValueError(f"a sample needs {NEAR} neighbours beside itself")
    listed = min(LISTED, len(fake) - 1)
    far, which = [], []
    for start in range(0, len(fake), ROWS_AT_ONCE):
        apart = distances(fake[start : start + ROWS_AT_ONCE], fake)
        apart[torch.arange(len(apart)), torch.arange(start, start + len(apart))] = math.inf  # itself
        found = apart.topk(listed, largest=False)
        far.append(found.values)
        which.append(found.indices)
    far_away, indices = torch.cat(far), torch.cat(which)
    reach = torch.full(chosen.shape, -1.0)
    for row, mine in zip(reach, chosen, strict=True):
        enough = mine[indices].cumsum(1) >= NEAR
        place = torch.where(enough.any(1), enough.int().argmax(1), listed - 1)
        row[mine] = far_away.gather(1, place.unsqueeze(1)).squeeze(1)[mine]
    return reach
