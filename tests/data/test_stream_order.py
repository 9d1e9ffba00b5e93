"""The order of samples in shards."""

from __future__ import annotations

import itertools
import random

import pytest
import torch

from gan_cli.data import stream_order
from gan_cli.data.dataset import batch_indices
from gan_cli.data.stream_order import StreamOrder

COUNTS = [7, 0, 12, 3, 5, 9]
SHARD_OF = torch.repeat_interleave(torch.arange(len(COUNTS)), torch.tensor(COUNTS))


def order(buffer: int = 10) -> StreamOrder:
    return StreamOrder(torch.tensor(COUNTS), buffer)


@pytest.mark.parametrize("buffer", [1, 4, 10, 20, 1000])
def test_each_sample_occurs_once_in_an_epoch(buffer: int) -> None:
    for epoch in range(3):
        rows = order(buffer).rows(seed=5, start=36 * epoch, count=36)
        assert sorted(rows.tolist()) == list(range(36))


def test_an_epoch_is_read_in_windows_of_whole_shards() -> None:
    """Windows of shards, in the order of their first sample, that hold at least 10 samples, but for the last one."""
    for seed in range(20):
        shards = SHARD_OF[order(10).rows(seed, 0, 36)].tolist()
        windows: list[tuple[set[int], int]] = []
        position = 0
        while position < 36:
            members: set[int] = set()
            held = 0
            for shard in dict.fromkeys(shards[position:]):
                members.add(shard)
                held = sum(COUNTS[each] for each in members)
                if set(shards[position : position + held]) == members and (held >= 10 or position + held == 36):
                    break
            windows.append((members, held))
            position += held
        assert sorted(shard for members, _ in windows for shard in members) == [0, 2, 3, 4, 5]
        assert all(held >= 10 for _, held in windows[:-1])
        assert all(held <= 9 + 12 for _, held in windows)


def test_the_samples_of_a_window_are_shuffled_and_epochs_differ() -> None:
    rows = order(1000).rows(0, 0, 36)
    assert rows.tolist() != sorted(rows.tolist())
    assert order(10).rows(0, 0, 36).tolist() != order(10).rows(0, 36, 36).tolist()
    assert order(10).rows(0, 0, 36).tolist() != order(10).rows(1, 0, 36).tolist()


def test_every_order_of_a_small_set_is_equally_likely() -> None:
    """4 samples in 2 shards of 2, one at a time: the shards in 2 orders, and in each the 2 samples in 2 orders."""
    small, found = StreamOrder(torch.tensor([2, 2]), 1), {}
    for seed in range(800):
        key = tuple(small.rows(seed, 0, 4).tolist())
        found[key] = found.get(key, 0) + 1
    assert len(found) == 8
    assert all(abs(count - 100) < 4 * 9.4 for count in found.values())  # the standard deviation is 9.4


def test_any_part_of_the_stream_is_that_of_the_whole() -> None:
    whole = order().rows(3, 0, 200)
    for start in (0, 1, 35, 36, 37, 71, 100, 150):
        assert torch.equal(order().rows(3, start, 50), whole[start : start + 50])


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_that_take_parts_of_each_batch_see_the_same_stream(processes: int) -> None:
    """Batch b is the positions 8 b to 8 b + 7, and process r takes an equal part of them."""
    whole, part = order().rows(1, 0, 80), 8 // processes
    taken = [order().rows(1, 8 * batch + rank * part, part) for batch in range(10) for rank in range(processes)]
    assert torch.equal(torch.cat(taken), whole)


def test_if_the_buffer_holds_all_the_order_is_that_of_data_in_memory() -> None:
    for update in (0, 3, 4, 5, 11):
        assert torch.equal(order(36).rows(2, update * 8, 8), batch_indices(2, 36, 8, update))


def test_the_next_window_and_its_shards() -> None:
    one = order(10)
    position, shards = 0, []
    while position < 36:
        shards += one.shards_at(0, position).tolist()
        after = one.next_window(0, position)
        assert set(SHARD_OF[one.rows(0, position, after - position)].tolist()) == set(
            one.shards_at(0, position).tolist()
        )
        position = after
    assert sorted(shards) == [0, 2, 3, 4, 5]
    assert one.next_window(0, 36) > 36


def largest_by_trial(counts: list[int], sizes: list[int], buffer: int) -> int:
    """Returns the most that a window holds, of all orders of the shards."""
    largest = 0
    for shards in itertools.permutations(range(len(counts))):
        held, size = 0, 0
        for shard in shards:
            held, size = held + counts[shard], size + (sizes[shard] if counts[shard] else 0)
            largest = max(largest, size)
            if held >= buffer:
                held, size = 0, 0
    return largest


def test_the_largest_window() -> None:
    """One of shards of 3, 5 and 9 samples, whose sizes are 40, 50 and 60; then that of all orders of a few shards."""
    sizes = torch.tensor([10, 20, 30, 40, 50, 60])
    assert order(10).largest_window(sizes) == 60 + 50 + 40
    assert order(1).largest_window(sizes) == 60
    draw = random.Random(0)
    for _ in range(60):
        counts = [draw.randint(0, 9) for _ in range(draw.randint(1, 5))] + [draw.randint(1, 9)]
        drawn, buffer = [draw.randint(1, 50) for _ in counts], draw.randint(1, 25)
        found = StreamOrder(torch.tensor(counts), buffer).largest_window(torch.tensor(drawn))
        assert found == largest_by_trial(counts, drawn, buffer), (counts, drawn, buffer)


def test_a_small_last_shard_makes_the_largest_window_no_larger_than_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of 1,000 samples and one of 3, of a byte each: the 3 and 10 others. Without an exact result: 11 shards."""
    counts = torch.tensor([1000] * 99 + [3])
    assert StreamOrder(counts, 10_000).largest_window(counts) == 10_003
    assert StreamOrder(counts, 1000).largest_window(counts) == 1003
    monkeypatch.setattr(stream_order, "MOST_SUMS", 0)
    assert StreamOrder(counts, 10_000).largest_window(counts) == 11_000
