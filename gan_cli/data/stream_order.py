"""The order in which the samples of shards are drawn: a function of the seed and the position, without a state.

An epoch is a random order of the shards, cut into windows of consecutive shards that together hold at least `buffer`
samples. Within a window, the samples are in random order. So every sample occurs once in an epoch, only the shards of
one window are read at a time, and any position of the stream is found without drawing the ones before it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gan_cli.randomness import generator_for

MOST_SUMS = 1 << 28  # that are computed for the largest window, which takes about a second
MOST_KEPT = 3  # permutations of windows that are kept: the current one, and those next to it


@dataclass(frozen=True)
class StreamOrder:
    """The order of the samples of shards that hold `counts` of them, numbered from 0 through all shards."""

    counts: Tensor  # int64 `[shards]`
    buffer: int
    _windows: OrderedDict[tuple[int, int], tuple[Tensor, ...]] = field(
        default_factory=OrderedDict, compare=False, repr=False
    )
    _orders: OrderedDict[tuple[int, int, int], Tensor] = field(default_factory=OrderedDict, compare=False, repr=False)

    def __len__(self) -> int:
        return int(self.counts.sum())

    def rows(self, seed: int, start: int, count: int) -> Tensor:
        """Returns the numbers of the samples at the positions from `start` on, int64 `[count]`.

        If the stream is that of a run of several processes, each takes a part of the positions of every batch.
        """
        epoch, position = divmod(start, len(self))
        parts: list[Tensor] = []
        while count > 0:
            _, ends = self._windows_of(seed, epoch)
            number = int(torch.searchsorted(ends, position, right=True))
            if number == len(ends):
                epoch, position = epoch + 1, 0
                continue
            begin = int(ends[number - 1]) if number else 0
            part = self._window_order(seed, epoch, number)[position - begin : position - begin + count]
            parts.append(part)
            position, count = position + len(part), count - len(part)
        return torch.cat(parts)

    def shards_at(self, seed: int, position: int) -> Tensor:
        """Returns the numbers of the shards of the window that holds a position of the stream."""
        epoch, position = divmod(position, len(self))
        shards, ends = self._windows_of(seed, epoch)
        return self._shards_of(shards, ends, int(torch.searchsorted(ends, position, right=True)))

    def next_window(self, seed: int, position: int) -> int:
        """Returns the position at which the window after that of `position` begins."""
        epoch, inside = divmod(position, len(self))
        ends = self._windows_of(seed, epoch)[1]
        return epoch * len(self) + int(ends[int(torch.searchsorted(ends, inside, right=True))])

    def largest_window(self, sizes: Tensor) -> int:
        """Returns the most that one window can hold of `sizes`, int64 `[shards]`, in any order of the shards.

        A window is shards of less than `buffer` samples together, and one more. If there are too many shards for an
        exact result, it is the sum of the largest sizes of as many shards as a window can have.
        """
        used = self.counts > 0
        counts, sizes = self.counts[used], sizes[used]
        shards = int((counts.sort().values.cumsum(0) < self.buffer).sum()) + 1
        if shards >= len(counts):
            return int(sizes.sum())
        kept = _largest_of_each_count(counts, sizes, self.buffer)
        if len(kept) * self.buffer > MOST_SUMS:
            return int(sizes.topk(shards).values.sum())
        before, whole = torch.zeros(self.buffer, dtype=torch.int64), torch.zeros(self.buffer, dtype=torch.int64)
        for count, size in zip(counts[kept].tolist(), sizes[kept].tolist(), strict=True):
            # the largest sums of less than `buffer` samples, by their number at most: without and with the last shard
            more = torch.maximum(whole, before + size)
            if count < self.buffer:
                more[count:] = torch.maximum(more[count:], whole[: self.buffer - count] + size)
                before[count:] = torch.maximum(before[count:], before[: self.buffer - count] + size)
            whole = more
        return int(whole[-1])

    def _windows_of(self, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
        """Returns the order of the shards of an epoch, and the position in it at which each window ends."""
        key = (seed, epoch)
        if key not in self._windows:
            shards = torch.randperm(len(self.counts), generator=generator_for(seed, "shards", epoch))
            ends, held, total = [], 0, 0
            for count in self.counts[shards].tolist():
                held, total = held + count, total + count
                if held >= self.buffer:
                    ends.append(total)
                    held = 0
            if held:
                ends.append(total)
            _keep(self._windows, key, (shards, torch.tensor(ends)))
        shards, ends_of = self._windows[key]
        return shards, ends_of

    def _shards_of(self, shards: Tensor, ends: Tensor, window: int) -> Tensor:
        """Returns the numbers of the shards of a window, those that hold samples."""
        before = self.counts[shards].cumsum(0) - self.counts[shards]
        begin = int(ends[window - 1]) if window else 0
        return shards[(before >= begin) & (before < int(ends[window])) & (self.counts[shards] > 0)]

    def _window_order(self, seed: int, epoch: int, window: int) -> Tensor:
        """Returns the numbers of the samples of a window, in the order in which they are drawn.

        If one window holds all samples, the order is that of data in memory, see `batch_indices`.
        """
        key = (seed, epoch, window)
        if key not in self._orders:
            shards, ends = self._windows_of(seed, epoch)
            if len(ends) == 1:
                order = torch.randperm(len(self), generator=generator_for(seed, "epoch", epoch))
            else:
                starts = self.counts.cumsum(0) - self.counts
                chosen = self._shards_of(shards, ends, window).tolist()
                rows = torch.cat(
                    [torch.arange(int(starts[shard]), int(starts[shard] + self.counts[shard])) for shard in chosen]
                )
                order = rows[torch.randperm(len(rows), generator=generator_for(seed, f"window/{epoch}", window))]
            _keep(self._orders, key, order)
        return self._orders[key]


def _largest_of_each_count(counts: Tensor, sizes: Tensor, buffer: int) -> Tensor:
    """Returns the positions of those shards that the largest window may have, of each number of samples the largest.

    A window has at most so many of one number that all but one hold less than `buffer` samples.
    """
    kept = []
    for count in counts.unique().tolist():
        found = (counts == count).nonzero().flatten()
        kept.append(found[sizes[found].topk(min(len(found), (buffer - 1) // count + 1)).indices])
    return torch.cat(kept)


def _keep(store: OrderedDict, key: object, value: object) -> None:
    """Adds an entry. Removes the oldest one of more than MOST_KEPT."""
    store[key] = value
    if len(store) > MOST_KEPT:
        store.popitem(last=False)
