"""Whether samples are training pictures learned by heart, and whether they repeat each other.

Both compare with what real pictures do that were not trained on. A sample's nearest training picture is near in two
ways: because it is a copy, or because pictures of its kind lie near each other (a blurred one is near to many). So its
distance to the nearest is taken over its mean distance to the following ones, as 2301.13188 does to find copies; the
nearest distance itself, as in 1806.00035 and 2002.09797, is told beside it. Real pictures that lie there twice would
make copies look usual, so a double does not count as a neighbour of held-out pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_cli.evaluation.metrics.extractors import Told, _untold, shrunk

MOST_VALUES = 1024  # of a picture that is compared: 32 x 32 grey
FOLLOWING = 49  # neighbours after the nearest
RARE = 0.01  # the share of held-out pictures that are as near as what counts as a copy
FLAGGED = 0.05  # the share of samples at which they are called memorized
MOSTLY = 0.5  # of samples repeat each other: told, of honest ones it is a tenth
ROWS_AT_ONCE = 5000
# A double: the same picture saved again. Its values differ by a few grey levels (root mean square), and beside the
# pictures that follow it is near to nothing.
DOUBLE, DOUBLE_CLOSENESS = 4 / 127.5, 0.1
FAR_BELOW = 0.2  # of held-out pictures' usual distance: no new picture is so near, whatever the others do


@dataclass(frozen=True)
class Nearest:
    """Of each picture: how far the nearest other is, which one, and how near it is beside those that follow (0..1)."""

    distance: Tensor
    index: Tensor
    closeness: Tensor


def find_nearest(
    pictures: Tensor, among: Tensor, own: Tensor | None = None, told: Told = _untold, beyond: float | None = None
) -> Nearest:
    """Of uint8 `[N, C, H, W]`, among `[M, C, H, W]`, of at most MOST_VALUES pixels; M is at least 2.

    `own` `[N]` are the places that the pictures themselves have there, which do not count. With `beyond` none counts
    that is not farther than that; the distance is infinite where none is.
    """
    looked = shrunk(pictures, MOST_VALUES)
    kept = min(FOLLOWING + 1, len(among) - (own is not None))
    best, places = torch.full((len(looked), kept), torch.inf), torch.zeros(len(looked), kept, dtype=torch.int64)
    for start in range(0, len(among), ROWS_AT_ONCE):
        part = shrunk(among[start : start + ROWS_AT_ONCE], MOST_VALUES)
        apart = _squared(looked, part)
        if own is not None:
            here = ((own >= start) & (own < start + len(part))).nonzero().squeeze(1)
            apart[here, own[here] - start] = torch.inf
        if beyond is not None:
            apart[apart <= beyond**2] = torch.inf
        numbers = torch.arange(start, start + len(part)).expand(len(looked), -1)
        candidates, numbers = torch.cat([best, apart], 1), torch.cat([places, numbers], 1)
        best, chosen = candidates.topk(kept, largest=False)
        places = numbers.gather(1, chosen)
        told(min(start + ROWS_AT_ONCE, len(among)), len(among))
    index = places[:, 0]
    nearest = (looked - shrunk(among[index], MOST_VALUES)).norm(dim=1)  # exactly, as no matrix product is
    following = best[:, 1:].clamp_min(0).sqrt().mean(1) if kept > 1 else nearest
    if beyond is not None:
        nearest = torch.where(best[:, 0].isinf(), torch.inf, nearest)
        behind = best[:, 1:].sqrt()
        following = behind.where(behind.isfinite(), torch.nan).nanmean(1)
        following = torch.where(following.isnan(), nearest, following)
    closeness = torch.where(nearest > 0, nearest / following.clamp_min(1e-12), torch.zeros(()))
    return Nearest(nearest, index, closeness.clamp_max(1.0))


def _squared(rows: Tensor, others: Tensor) -> Tensor:
    return (rows.square().sum(1, keepdim=True) - 2 * rows @ others.T + others.square().sum(1)).clamp_min_(0)


@dataclass(frozen=True)
class Memorization:
    """Shares `[N]` are of bool for each sample; `ratio` is of median distances, 1 where samples are as held-out ones.

    `copies`: nearer to a training picture, beside those that follow, than all but RARE of held-out pictures are.
    `repeats`: nearer to another sample than all but RARE of held-out pictures are to another one. In both a held-out
    picture that is a double goes by what is nearest to it beyond its doubles, as does `held_out_distance`.
    `doubles` is how many of them have a double among the training pictures.
    """

    copies: Tensor
    repeats: Tensor
    distance: Tensor
    held_out_distance: Tensor
    nearest: Nearest
    held_out_nearest: Nearest
    doubles: int = 0

    @property
    def ratio(self) -> float:
        return (self.distance.median() / self.held_out_distance.median().clamp_min(1e-12)).item()

    @property
    def flagged(self) -> bool:
        return self.copies.float().mean().item() > FLAGGED or self.ratio < FAR_BELOW

    @property
    def verdict(self) -> str:
        """One line."""
        share, count = self.copies.float().mean().item(), len(self.copies)
        said = f"{share:.1%} of {count:,} samples are nearer to a training image than {1 - RARE:.0%} of held-out ones"
        if self.flagged:
            said += f"; up to {FLAGGED:.0%} pass" if share > FLAGGED else ""
        if self.ratio < FAR_BELOW:
            said += f"; the median sample is at {self.ratio:.2g} of the distance that held-out ones have to theirs"
        repeated = self.repeats.float().mean().item()
        if repeated > MOSTLY:
            said += f", but {repeated:.1%} repeat each other"
        if self.doubles:
            said += f"; {self.doubles:,} of {len(self.held_out_distance):,} held-out ones are doubles of a training"
            said += " image, and go by the nearest other"
        return f"memorization: {'FLAGGED' if self.flagged else 'not seen'}: {said}"


def find_memorized(fakes: Tensor, train: Tensor, held_out: Tensor, own: Tensor | None, told: Told) -> Memorization:
    """Of uint8 `[N, C, H, W]` and as many held-out ones; `own` as for `find_nearest` if these are from `train`."""
    copied = find_nearest(fakes, train, told=told)
    expected = find_nearest(held_out, train, own)
    usual, doubles = _beyond_doubles(expected, held_out, train, own)
    among_fakes = find_nearest(fakes, fakes, torch.arange(len(fakes)))
    places = torch.arange(len(held_out))
    among_real, _ = _beyond_doubles(find_nearest(held_out, held_out, places), held_out, held_out, places)
    return Memorization(
        copies=copied.closeness <= _rare(usual.closeness),
        repeats=among_fakes.distance <= _rare(among_real.distance),
        distance=copied.distance,
        held_out_distance=usual.distance,
        nearest=copied,
        held_out_nearest=expected,
        doubles=doubles,
    )


def _beyond_doubles(found: Nearest, pictures: Tensor, among: Tensor, own: Tensor | None) -> tuple[Nearest, int]:
    """`found`, but of each picture that is a double the nearest beyond its doubles; and how many of them are.

    One whose like are all that there is stays as it was found.
    """
    reach = DOUBLE * math.sqrt(shrunk(pictures[:1], MOST_VALUES).shape[1])
    doubled = ((found.distance <= reach) & (found.closeness <= DOUBLE_CLOSENESS)).nonzero().squeeze(1)
    if not len(doubled):
        return found, 0
    behind = find_nearest(pictures[doubled], among, None if own is None else own[doubled], beyond=reach)
    there = behind.distance.isfinite()
    distance, index, closeness = found.distance.clone(), found.index.clone(), found.closeness.clone()
    distance[doubled[there]] = behind.distance[there]
    index[doubled[there]] = behind.index[there]
    closeness[doubled[there]] = behind.closeness[there]
    return Nearest(distance, index, closeness), len(doubled)


def _rare(values: Tensor) -> Tensor:
    """What RARE of the values are at most."""
    return values.quantile(RARE)
