"""The share of each batch that this process computes, if several processes train one model.

`batch_size` is that of all processes together. Every process draws the random numbers of the whole batch, from the same
seeds, and uses those of its own samples. So the samples, latents, noise, masks and augmentations of a batch do not
depend on the number of processes.

A share is in use only inside `sharing`, which is entered for each training step. Elsewhere, as in an evaluation by one
process, the functions of this module return what they get.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Share:
    """The samples of process number `index` of `count`.

    A batch is divided into `sections`, such as microbatches, or a batch of real samples and one of fakes. Of each
    section, a process has as many consecutive samples as the others, in the order of their numbers. `group` connects
    the processes; it is a group of `torch.distributed`.
    """

    group: Any
    index: int
    count: int
    sections: int = 1
    synchronized_norm: bool = True  # whether batch normalization uses the statistics of all processes


_current: Share | None = None


def current_share() -> Share | None:
    """Returns the share in use, None if this process computes whole batches."""
    return _current


@contextmanager
def sharing(share: Share | None) -> Iterator[None]:
    """A context in which this process computes its share of each batch."""
    global _current
    before, _current = _current, share
    try:
        yield
    finally:
        _current = before


@contextmanager
def in_sections(count: int) -> Iterator[None]:
    """A context in which batches consist of `count` sections. It has no effect if no share is in use."""
    with sharing(None if _current is None else replace(_current, sections=count)):
        yield


def whole(count: int) -> int:
    """Returns the size of the whole batch of which this process has `count` samples."""
    return count if _current is None else count * _current.count


def own(batch: Tensor, dim: int = 0) -> Tensor:
    """Returns this process's share of a tensor that has all samples of the batch along `dim`."""
    if _current is None:
        return batch
    parts = batch.unflatten(dim, (_current.sections, _current.count, -1))
    return parts.select(dim + 1, _current.index).flatten(dim, dim + 1)
