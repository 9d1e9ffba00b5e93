"""Lets the processes of a run agree on a new part of torchrun's store each time that they are started.

torchrun keeps its store when it starts the processes again, with the addresses of those that have ended. How often it
has done so is no common number: the torchrun of each machine counts its own failures alone. So process 0 opens a new
part, and tells its number to each of the others that arrives.
"""

from __future__ import annotations

import time
from datetime import timedelta

import torch.distributed as dist

from gan_cli.errors import LostProcessError

POLL_SECONDS = 0.05


def new_part(store: dist.Store, rank: int, count: int, timeout: timedelta) -> dist.Store:
    """Returns a part of the store that only the processes use that meet now, `count` with the numbers from 0.

    Processes of an earlier start may have left anything in the store, also questions that were never answered. Raises
    LostProcessError if process 0 misses another process after `timeout`; the others raise the error of `store.get`.
    """
    shared = dist.PrefixStore("gan-cli", store)
    if rank > 0:
        arrival = shared.add("arrivals", 1)
        name = shared.get(f"answer {arrival}").decode()
        shared.set(f"{name} has {rank}", "")
        return dist.PrefixStore(name, shared)
    name, until, answered = f"part {shared.add('parts', 1)}", time.monotonic() + timeout.total_seconds(), 0
    others = [f"{name} has {other}" for other in range(1, count)]
    while not (count == 1 or shared.check(others)):
        for arrival in range(answered + 1, shared.add("arrivals", 0) + 1):
            shared.set(f"answer {arrival}", name)
            answered = arrival
        if time.monotonic() > until:
            raise LostProcessError("the other processes of this run did not start, or cannot be reached")
        time.sleep(POLL_SECONDS)
    return dist.PrefixStore(name, shared)
