"""What becomes of downloads when a read is interrupted, and when it is taken up again."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from gan_cli.data import streamed_images
from gan_cli.data.shards.download_shards import NEVER, ShardDownloads
from gan_cli.data.shards.shard_files import ShardFiles, ShardsAhead
from gan_cli.data.streamed_images import stop_decoding
from gan_cli.errors import StorageError
from gan_cli.storage.locks import one_at_a_time
from support.shard_server import Server, emptied, reading_threads, wait_for
from support.shards import load_shards, number_of


def load(server: Server, cache: Path, **options: object):
    return load_shards(f"{server.address}/train-{{0000..0003}}.tar", cache=str(cache), **options)


def names(shards: list[int]) -> list[str]:
    return [f"train-{shard:04d}.tar" for shard in shards]


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_the_next_window_is_downloaded_after_an_interrupted_read(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two shards are a window. The interrupt comes while the first of the next window is downloaded."""
    found = load(server, tmp_path / "cache", buffer=15)
    assert found.order is not None
    following = names(found.order.shards_at(0, 20).tolist())
    batches = emptied(found, tmp_path / "cache")
    server.requests.clear()
    server.faults[following[0]] = "slow"
    batches.draw(0)
    assert wait_for(lambda: following[0] in server.requests)
    with monkeypatch.context() as patch:
        patch.setattr(streamed_images, "_joined", interrupt)
        with pytest.raises(KeyboardInterrupt):
            found.samples[torch.arange(3)]
    assert wait_for(lambda: not any(thread.name == "shards ahead" for thread in threading.enumerate()))
    server.faults.clear()
    server.requests.clear()
    batches.draw(0)  # whose batches ahead are all of its own window
    assert wait_for(lambda: {*following} <= {*server.requests})
    stop_decoding(found.samples)


def test_shards_ahead_that_were_stopped_are_downloaded_by_the_next_call(server: Server, tmp_path: Path) -> None:
    files = ShardFiles([f"{server.address}/{name}" for name in names([0, 1, 2])], tmp_path / "cache", 1 << 30)
    ahead, stopped = ShardsAhead(files), threading.Event()
    stopped.set()
    ahead.fetch([0, 1, 2], stopped)
    assert wait_for(lambda: not ahead._running)
    assert server.requests == []
    ahead.fetch([0, 1, 2], NEVER)
    assert wait_for(lambda: not ahead._running)
    assert server.requests == names([0, 1, 2])
    ahead.fetch([0, 1, 2], NEVER)  # which is the same wish
    assert not ahead._running


def test_downloads_of_an_earlier_read_end_whatever_comes_next(server: Server, tmp_path: Path) -> None:
    """Of batches that are decoded ahead, and of the next window. The read that comes next needs another shard."""
    found = load(server, tmp_path / "cache", buffer=10)
    assert found.order is not None
    first, second = (found.order.shards_at(0, position).item() for position in (0, 10))
    batches, before = emptied(found, tmp_path / "cache"), reading_threads()
    server.requests.clear()
    server.faults[names([second])[0]] = "slow"
    batches.draw(2)
    assert wait_for(lambda: names([second])[0] in server.requests)
    earlier = reading_threads() - before
    stop_decoding(found.samples)
    row = 10 * first + 3
    assert number_of(found.samples[row]) == row
    ended = wait_for(lambda: not any(thread.is_alive() for thread in earlier))
    server.faults.clear()  # else the server would go on to write
    assert ended
    stop_decoding(found.samples)


def test_a_stopped_download_does_not_wait_for_that_of_another_process(server: Server, tmp_path: Path) -> None:
    downloads, stopped, caught = ShardDownloads(tmp_path / "cache", 1 << 30), threading.Event(), []
    address = f"{server.address}/train-0000.tar"

    def fetch() -> None:
        with pytest.raises(StorageError, match="the download was stopped") as error:
            downloads.fetch(address, None, stopped)
        caught.append(error)

    thread = threading.Thread(target=fetch)
    with one_at_a_time(downloads._path(address)):
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        stopped.set()
        thread.join(20)
        assert caught
    assert server.requests == []
    assert downloads.fetch(address, None).stat().st_size == (tmp_path / "served/train-0000.tar").stat().st_size


def test_a_batch_whose_download_failed_can_be_read_again(server: Server, tmp_path: Path) -> None:
    found, local = load(server, tmp_path / "cache", buffer=10), load_shards(tmp_path / "served", buffer=10)
    assert found.order is not None
    second = names(found.order.shards_at(0, 10).tolist())[0]
    batches = emptied(found, tmp_path / "cache")
    server.faults[second] = "gone"
    with pytest.raises(StorageError, match="HTTP status 404"):
        batches.draw(5)
    server.faults.clear()
    expected = local.samples[found.order.rows(0, 10, 2)].float().div(127.5).sub(1)
    assert torch.equal(batches.draw(5).samples, expected)
    stop_decoding(found.samples)
