"""Images that are decoded when they are read."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from gan_cli.data import streamed_images
from gan_cli.data.dataset import Batches, Dataset, to_signed_unit
from gan_cli.data.stream_order import StreamOrder
from gan_cli.data.streamed_images import AHEAD, CHUNK, BatchDecoder, StreamedImages, stop_decoding
from gan_cli.errors import StorageError, UsageError
from support.errors import refused
from support.shard_server import wait_for

WHOLE = torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1).expand(50, 3, 4, 4).contiguous()


class Source:
    """Images that count how often they are decoded."""

    shape = (3, 4, 4)

    def __init__(self) -> None:
        self.decoded: list[int] = []
        self.calls: list[list[int]] = []
        self.events: list[threading.Event] = []  # that end the reading of each call
        self.failures = 0  # of the next calls
        self.waiting_rows: list[int] = []
        self.go_on = threading.Event()  # for which reading these rows waits

    def __len__(self) -> int:
        return 50

    def decode(self, rows: Sequence[int], stopped: threading.Event) -> Tensor:
        self.events.append(stopped)
        if self.failures:
            self.failures -= 1
            raise StorageError("not now")
        if [*rows] == self.waiting_rows:
            self.go_on.wait()
        self.decoded += rows
        self.calls.append([*rows])
        if 49 in rows:
            raise UsageError("bad")
        return WHOLE[list(rows)]


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def images(source: Source) -> StreamedImages:
    return StreamedImages(BatchDecoder(source), range(50))


def test_its_facts_are_known_without_decoding(images: StreamedImages, source: Source) -> None:
    assert (images.shape, images.ndim, images.dtype, len(images)) == ((50, 3, 4, 4), 4, torch.uint8, 50)
    assert images.nbytes == 50 * 48
    assert images[5:20:2].shape == (8, 3, 4, 4)
    assert source.decoded == []


def test_what_is_read_equals_a_tensor_in_memory(images: StreamedImages) -> None:
    index = torch.tensor([3, 3, -2, 0])
    assert torch.equal(images[index], WHOLE[index])
    assert torch.equal(images.index_select(0, torch.tensor([7, 1])), WHOLE[[7, 1]])
    assert torch.equal(images[torch.arange(50) % 8 == 0][:, 0, 0, 0], torch.arange(0, 50, 8, dtype=torch.uint8))
    assert torch.equal(images[4], WHOLE[4])
    assert torch.equal(images[10:30][::3][torch.tensor([1, -1])], WHOLE[10:30][::3][[1, -1]])
    assert torch.equal(to_signed_unit(images[:9]), to_signed_unit(WHOLE[:9]))
    assert torch.equal(torch.stack(list(images[:40])), WHOLE[:40])
    assert images[:5].float().mean() == WHOLE[:5].float().mean()
    assert type(images[index]) is Tensor
    with pytest.raises(IndexError):
        images[torch.tensor([50])]


def test_only_what_is_read_is_decoded(images: StreamedImages, source: Source) -> None:
    images[torch.tensor([4, 8])]
    images[20:25][1]
    assert source.decoded == [4, 8, 21]


def test_all_at_once_is_refused_if_they_are_many(images: StreamedImages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed_images, "MOST_BYTES", 48 * 10)
    assert images[:10].float().shape == (10, 3, 4, 4)
    refused(lambda: images[:11].float(), "needs 11 images", "dataset.limit")
    refused(lambda: images.aminmax(), "needs 50 images")


def batches(images: StreamedImages) -> Batches:
    dataset = Dataset(samples=images, source="", order=StreamOrder(torch.tensor([20, 29]), 10))
    return Batches(dataset, seed=0, batch_size=6, device=torch.device("cpu"))


def test_the_next_batches_are_decoded_ahead_and_only_once(images: StreamedImages, source: Source) -> None:
    drawn, order = batches(images), StreamOrder(torch.tensor([20, 29]), 10)
    for update in range(30):
        expected = WHOLE[order.rows(0, 6 * update, 6)]
        assert torch.equal(drawn.draw(update).samples, to_signed_unit(expected))
        assert torch.equal(drawn.draw(update).samples, to_signed_unit(expected))  # as the generator's step does
    images.decoder._pool.shutdown()  # type: ignore[union-attr]
    assert len(source.decoded) == 6 * (30 + AHEAD)


def test_batches_in_any_order_are_the_same(images: StreamedImages) -> None:
    in_order = [batches(images).draw(update).samples for update in range(12)]
    drawn = batches(StreamedImages(BatchDecoder(Source()), range(50)))
    for update in (3, 4, 5, 0, 6, 7, 2, 11, 10, 9, 9):
        assert torch.equal(drawn.draw(update).samples, in_order[update])


def test_two_seeds_do_not_mix(images: StreamedImages) -> None:
    one, other = batches(images), Batches(batches(images).dataset, 1, 6, torch.device("cpu"))
    for update in range(4):
        first, second = one.draw(update).samples, other.draw(update).samples
        assert not torch.equal(first, second)
        assert torch.equal(second, Batches(other.dataset, 1, 6, torch.device("cpu")).draw(update).samples)


def test_an_error_of_a_thread_is_raised_where_the_batch_is_drawn(images: StreamedImages) -> None:
    with pytest.raises(UsageError, match="bad"):
        images[torch.tensor([49])]
    assert threading.active_count() < 40


def test_what_is_read_at_once_is_read_in_the_order_of_the_data(images: StreamedImages, source: Source) -> None:
    index = torch.randperm(49)
    assert torch.equal(images[index], WHOLE[index])
    assert sorted(source.calls) == [[*range(CHUNK)], [*range(CHUNK, 49)]]


def test_batches_ahead_are_dropped_when_a_run_ends(
    images: StreamedImages, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the AHEAD batches after the first, one thread has begun one."""
    monkeypatch.setattr(streamed_images.os, "cpu_count", lambda: 1)
    drawn, order = batches(images), StreamOrder(torch.tensor([20, 29]), 10)
    source.waiting_rows = order.rows(0, 6, 6).tolist()
    drawn.draw(0)
    stopped = source.events[0]
    assert not stopped.is_set()
    stop_decoding(images)
    source.go_on.set()
    assert torch.equal(drawn.draw(3).samples, to_signed_unit(WHOLE[order.rows(0, 18, 6)]))  # reading begins again
    assert stopped.is_set()  # for the earlier reads, whatever comes next
    assert not source.events[-1].is_set()
    assert not {*map(tuple, source.calls)} & {tuple(order.rows(0, 6 * update, 6).tolist()) for update in (2, 4)}


@pytest.mark.parametrize("batch", [False, True])
def test_an_interrupt_while_images_are_read_ends_the_reading(
    images: StreamedImages, source: Source, monkeypatch: pytest.MonkeyPatch, batch: bool
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    stopped = images.decoder.stopped
    with monkeypatch.context() as patch:
        patch.setattr(streamed_images, "_joined", interrupt)
        with pytest.raises(KeyboardInterrupt):
            batches(images).draw(0) if batch else images[torch.arange(40)]
    assert stopped.is_set()
    assert torch.equal(images[torch.arange(40)], WHOLE[:40])
    assert stopped.is_set()
    assert not images.decoder.stopped.is_set()


def test_a_batch_that_could_not_be_read_is_read_again(images: StreamedImages, source: Source) -> None:
    """As are those that were decoded ahead of it."""
    drawn, source.failures = batches(images), 2
    with pytest.raises(StorageError, match="not now"):
        drawn.draw(0)
    assert wait_for(lambda: not source.failures)
    for update in range(3):
        expected = WHOLE[StreamOrder(torch.tensor([20, 29]), 10).rows(0, 6 * update, 6)]
        assert torch.equal(drawn.draw(update).samples, to_signed_unit(expected))
