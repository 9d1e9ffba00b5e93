"""Detects generated images that copy training images, and generated images that repeat each other.

Held-out real images, which the generator was not trained on, give the thresholds for both. The nearest training image
of a sample can be near for two reasons: the sample is a copy, or images of its kind are all near each other (a blurred
image is near to many). So the distance to the nearest image is divided by the mean distance to the next FOLLOWING
images, as 2301.13188 does to find copies. The nearest distance itself, as in 1806.00035 and 2002.09797, is reported
too. Duplicates among the real images would raise the thresholds, so the duplicates of a held-out image do not count as
its neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_cli.errors import format_number
from gan_cli.evaluation.callbacks import CountCallback, ignore
from gan_cli.evaluation.metrics.feature_extractors import downscale

MOST_VALUES = 1024  # images are compared at no more values than this: 32 x 32 grey
FOLLOWING = 49  # neighbours after the nearest, whose mean distance is the denominator
COPY_QUANTILE = 0.01  # a sample is a copy if it is as near as this share of the held-out images
MAX_COPY_SHARE = 0.05  # above this share of copies the samples are flagged as memorized
REPORTED_REPEAT_SHARE = 0.5  # above this share of repeated samples the verdict mentions it; a good generator has 0.1
ROWS_AT_ONCE = 5000
# Two images are duplicates if they are the same image saved twice: their values differ by a few grey levels (root mean
# square, of values in [-1, 1]), and the distance is small relative to the next neighbours.
DUPLICATE_RMS, DUPLICATE_RELATIVE_DISTANCE = 4 / 127.5, 0.1
MIN_DISTANCE_RATIO = 0.2  # of held-out images' median distance; new images are never so near, whatever the copies say


@dataclass(frozen=True)
class Nearest:
    """The nearest other image of each of N images: `distance`, `index` and `relative_distance`, each `[N]`.

    The relative distance is the distance divided by the mean distance to the next FOLLOWING neighbours, from 0 to 1.
    """

    distance: Tensor
    index: Tensor
    relative_distance: Tensor


def find_nearest(
    images: Tensor,
    among: Tensor,
    self_index: Tensor | None = None,
    progress: CountCallback = ignore,
    beyond: float | None = None,
) -> Nearest:
    """Returns, for each of `images`, the nearest image in `among`; both are uint8 `[., C, H, W]`.

    They are compared after downscaling to MOST_VALUES values. `among` has at least 2 images, and is read once.
    `self_index` `[N]` is the position of each image itself in `among`, which is left out; -1 if it is not there. So are
    images at the distance `beyond` or nearer. If none is left, the distance is infinite.
    """
    queries = downscale(images, MOST_VALUES)
    count = min(FOLLOWING + 1, len(among) - (self_index is not None))
    nearest_values = torch.zeros_like(queries)
    best, indices = torch.full((len(queries), count), torch.inf), torch.zeros(len(queries), count, dtype=torch.int64)
    for start in range(0, len(among), ROWS_AT_ONCE):
        part = downscale(among[start : start + ROWS_AT_ONCE], MOST_VALUES)
        squared = queries.square().sum(1, keepdim=True) - 2 * queries @ part.T + part.square().sum(1)
        squared.clamp_min_(0)
        if self_index is not None:
            here = ((self_index >= start) & (self_index < start + len(part))).nonzero().squeeze(1)
            squared[here, self_index[here] - start] = torch.inf
        if beyond is not None:
            squared[squared <= beyond**2] = torch.inf
        numbers = torch.arange(start, start + len(part)).expand(len(queries), -1)
        candidates, numbers = torch.cat([best, squared], 1), torch.cat([indices, numbers], 1)
        best, columns = candidates.topk(count, largest=False)
        indices = numbers.gather(1, columns)
        rows = (columns[:, 0] >= count).nonzero().squeeze(1)  # whose nearest image is in this part
        nearest_values[rows] = part[columns[rows, 0] - count]
        progress(min(start + ROWS_AT_ONCE, len(among)), len(among))
    index = indices[:, 0]
    nearest = (queries - nearest_values).norm(dim=1)  # exact, unlike the matrix product above
    following = best[:, 1:].clamp_min(0).sqrt().mean(1) if count > 1 else nearest
    if beyond is not None:
        nearest = torch.where(best[:, 0].isinf(), torch.inf, nearest)
        distances = best[:, 1:].sqrt()
        following = distances.where(distances.isfinite(), torch.nan).nanmean(1)
        following = torch.where(following.isnan(), nearest, following)
    relative_distance = torch.where(nearest > 0, nearest / following.clamp_min(1e-12), torch.zeros(()))
    return Nearest(nearest, index, relative_distance.clamp_max(1.0))


@dataclass(frozen=True)
class Memorization:
    """Which of N samples are copies of training images and which repeat other samples.

    `copies`, bool `[N]`, is true if the relative distance from a sample to its nearest training image is at most the
    COPY_QUANTILE of the same distances of held-out images. `repeats`, bool `[N]`, is true if the distance from a sample
    to its nearest other sample is at most the COPY_QUANTILE of the distances between a held-out image and its nearest
    other held-out image. `nearest` and `held_out_nearest` are the nearest training images of the samples and of the
    held-out images. `held_out_distance` is the distance of the latter. Duplicates of a held-out image are ignored in
    `held_out_distance` and in both quantiles. `duplicates` is the number of held-out images that have a duplicate in
    the training images.
    """

    copies: Tensor
    repeats: Tensor
    nearest: Nearest
    held_out_nearest: Nearest
    held_out_distance: Tensor
    duplicates: int = 0

    @property
    def ratio(self) -> float:
        """The median distance of the samples divided by that of held-out images. About 1 for new images."""
        return (self.nearest.distance.median() / self.held_out_distance.median().clamp_min(1e-12)).item()

    @property
    def copy_share(self) -> float:
        return self.copies.float().mean().item()

    @property
    def flagged(self) -> bool:
        """Whether the samples count as memorized."""
        return self.copy_share > MAX_COPY_SHARE or self.ratio < MIN_DISTANCE_RATIO

    @property
    def verdict(self) -> str:
        """The result in one line."""
        text = f"{self.copy_share:.1%} of {len(self.copies):,} samples are nearer to a training image than"
        text += f" {1 - COPY_QUANTILE:.0%} of held-out images"
        if self.copy_share > MAX_COPY_SHARE:
            text += f"; at most {MAX_COPY_SHARE:.0%} is accepted"
        if self.ratio < MIN_DISTANCE_RATIO:
            times = format_number(self.ratio, 2)
            text += f"; the median distance to a training image is {times} times that of held-out images"
        repeated = self.repeats.float().mean().item()
        if repeated > REPORTED_REPEAT_SHARE:
            text += f"; {repeated:.1%} of samples repeat each other"
        if self.duplicates:
            text += f"; {self.duplicates:,} of {len(self.held_out_distance):,} held-out images are duplicates of a"
            text += " training image, and are measured to the nearest other one"
        return f"memorization: {'FLAGGED' if self.flagged else 'not found'}: {text}"


def detect_memorization(
    fakes: Tensor, train: Tensor, held_out: Tensor, self_index: Tensor | None, progress: CountCallback
) -> Memorization:
    """Returns which fakes copy training images and which repeat each other. All images are uint8 `[., C, H, W]`.

    If the held-out images are part of `train`, `self_index` gives their positions in `train`.
    """
    positions = None if self_index is None else torch.cat([torch.full((len(fakes),), -1), self_index])
    both = vars(find_nearest(torch.cat([fakes, held_out]), train, positions, progress))
    nearest = Nearest(*(found[: len(fakes)] for found in both.values()))
    held_out_nearest = Nearest(*(found[len(fakes) :] for found in both.values()))
    usual, duplicates = _beyond_duplicates(held_out_nearest, held_out, train, self_index)
    among_fakes = find_nearest(fakes, fakes, torch.arange(len(fakes)))
    indices = torch.arange(len(held_out))
    among_real, _ = _beyond_duplicates(find_nearest(held_out, held_out, indices), held_out, held_out, indices)
    copies = nearest.relative_distance <= usual.relative_distance.quantile(COPY_QUANTILE)
    repeats = among_fakes.distance <= among_real.distance.quantile(COPY_QUANTILE)
    return Memorization(copies, repeats, nearest, held_out_nearest, usual.distance, duplicates)


def _beyond_duplicates(found: Nearest, images: Tensor, among: Tensor, self_index: Tensor | None) -> tuple[Nearest, int]:
    """Replaces each nearest image that is a duplicate by the nearest that is none, if there is one.

    Returns the result, and the number of images whose nearest image was a duplicate.
    """
    limit = DUPLICATE_RMS * math.sqrt(downscale(images[:1], MOST_VALUES).shape[1])
    is_duplicate = (found.distance <= limit) & (found.relative_distance <= DUPLICATE_RELATIVE_DISTANCE)
    rows = is_duplicate.nonzero().squeeze(1)
    if not len(rows):
        return found, 0
    others = find_nearest(images[rows], among, None if self_index is None else self_index[rows], beyond=limit)
    exists = others.distance.isfinite()
    pairs = zip(vars(found).values(), vars(others).values(), strict=True)
    return Nearest(*(old.index_put((rows[exists],), new[exists]) for old, new in pairs)), len(rows)
