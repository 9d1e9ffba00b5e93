"""The part of torchrun's store on which the processes agree each time that they are started."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
import torch.distributed as dist

from gan_cli.distributed import process_group
from gan_cli.distributed.process_environment import TORCHRUN, ProcessEnvironment, read_environment
from gan_cli.distributed.start_round import new_part
from gan_cli.errors import LostProcessError

LONG = timedelta(seconds=60)


@pytest.fixture
def connect() -> Callable[..., dist.Store]:
    """Connects to one server, which keeps its content as that of torchrun does."""
    server = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)

    def client(timeout: timedelta = LONG) -> dist.Store:
        return dist.TCPStore("127.0.0.1", server.port, is_master=False, wait_for_workers=False, timeout=timeout)

    return client


def meet(connect: Callable[..., dist.Store], count: int, order: list[int]) -> list[dist.Store]:
    """Returns the parts of all processes of one start, each a thread, which begin in this order."""
    parts: dict[int, dist.Store] = {}

    def begin(rank: int) -> None:
        parts[rank] = new_part(connect(), rank, count, LONG)

    threads = [threading.Thread(target=begin, args=(rank,)) for rank in order]
    for thread in threads:
        thread.start()
        thread.join(0.1)
    for thread in threads:
        thread.join(LONG.total_seconds())
    return [parts[rank] for rank in range(count)]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0]])
def test_each_start_has_a_part_of_its_own(connect: Callable[..., dist.Store], order: list[int]) -> None:
    """Although a process of the first start left its address there, and another one had asked and was not answered."""
    first = meet(connect, 3, order)
    first[1].set("address", "old")
    assert [part.get("address") for part in first] == [b"old"] * 3
    dist.PrefixStore("gan-cli", connect()).add("arrivals", 1)
    second = meet(connect, 3, order)
    assert not any(part.check(["address"]) for part in second)
    second[2].set("address", "new")
    assert [part.get("address") for part in second] == [b"new"] * 3
    assert first[0].get("address") == b"old"


def test_a_process_that_does_not_start_is_missed(connect: Callable[..., dist.Store]) -> None:
    """Also if another one came, ended and came again: it counts once."""
    short = timedelta(seconds=0.5)

    def come() -> None:
        with contextlib.suppress(LostProcessError, dist.DistError):
            new_part(connect(), 1, 3, LONG)

    for _ in range(2):
        threading.Thread(target=come, daemon=True).start()
    with pytest.raises(LostProcessError, match="did not start, or cannot be reached"):
        new_part(connect(), 0, 3, short)
    with pytest.raises(dist.DistStoreError):
        new_part(connect(short), 2, 3, short)


def test_machines_that_count_other_restarts_meet(
    connect: Callable[..., dist.Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A torchrun whose processes were healthy when those of another machine failed does not count the restart."""
    monkeypatch.setattr(process_group, "rendezvous", lambda *_, **__: iter([(connect(), 0, 2)]))
    for name, value in {TORCHRUN: "job", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    found: dict[int, dist.Store] = {}

    def begin(environment: ProcessEnvironment) -> None:
        found[environment.rank] = process_group._open_store(environment, timedelta(seconds=10))

    threads = []
    for rank in (0, 1):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", str(rank))
        threads.append(threading.Thread(target=begin, args=(read_environment(),)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found[0].set("address", "here")
    assert found[1].check(["address"])
