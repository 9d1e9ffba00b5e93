"""A whole data set, in memory, memory-mapped or decoded when it is read, and the batches that are drawn from it."""

from __future__ import annotations

import hashlib
import mmap
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gan_cli.data.balance import ClassGroups
from gan_cli.data.labels import encode_labels
from gan_cli.data.stream_order import StreamOrder
from gan_cli.data.streamed_images import StreamedImages
from gan_cli.device import to_device
from gan_cli.distributed.batch_share import own, whole
from gan_cli.errors import GanCliError, StorageError, UsageError, count_noun, one_line
from gan_cli.randomness import generator_for
from gan_cli.tasks.condition import Condition

# For each value of `dataset.flip`: the axes along which images are mirrored, and the name of each axis's random stream.
FLIPS: dict[bool | str, dict[int, str]] = {
    False: {},
    True: {-1: "flip"},
    "vertical": {-2: "flip/vertical"},
    "both": {-1: "flip", -2: "flip/vertical"},
}
SEEDS = {"train": 0, "test": 1}  # seed of the synthetic data of each split; it does not depend on the seed of a run


@dataclass(frozen=True)
class Dataset:
    """The images or points of a data set, with their labels and origin."""

    samples: Tensor  # images uint8 `[N, C, H, W]` or points float32 `[N, D]`
    source: str  # says in words where the data came from; it is recorded with the run
    labels: Tensor | None = None  # class numbers int64 `[N]` or, of several attributes, `[N, attributes]`; -1: unknown
    classes: tuple[str, ...] = ()
    sources: Tensor | None = None  # the aligned source image of each sample, uint8 `[N, C, H, W]`, for translation
    complete: bool = True  # False if the data are a small replacement for the real data set
    notes: tuple[str, ...] = ()  # lines that are printed at the start of a run
    digest: str | None = None  # the fingerprint if it is already known
    changes: Mapping[str, Any] = field(default_factory=dict)  # what was done to the images; licences of drawn ones
    value_range: str | tuple[float, float] | None = None  # by which images of more than 8 bits, if any, were scaled
    missing_splits: dict[str, GanCliError] = field(default_factory=dict, compare=False)  # those that were not found
    mapped: mmap.mmap | None = None  # the memory-mapped cache file that holds the samples, if any
    order: StreamOrder | None = field(default=None, compare=False)  # of samples in shards; None: any, all at once
    # begins to download shards, until the event is set
    fetch_shards: Callable[[list[int], threading.Event], None] | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def fingerprint(self) -> str:
        """The sha256, in hex digits, of the samples that are trained on, of their labels and of their source images."""
        if self.digest is not None:
            return self.digest
        digest = hashlib.sha256(str(tuple(self.samples.shape)).encode())
        for tensor in (self.samples, self.labels):
            if tensor is not None:
                digest.update(tensor.contiguous().numpy().data)
        if self.sources is not None:
            digest.update(str(tuple(self.sources.shape)).encode())
            digest.update(self.sources.contiguous().numpy().data)
        return digest.hexdigest()

    def require_whole(self) -> None:
        """Raises StorageError if the cache file was cut off. Reading a lost part of the map would kill the process."""
        if self.mapped is not None and self.mapped.size() < len(self.mapped):
            raise StorageError("dataset.cache: the file of decoded images was cut off while in use; run this again")


class Batch(NamedTuple):
    """Images in [-1, 1] or unscaled points, and their condition; None for an unconditional run."""

    samples: Tensor
    condition: Condition | None = None


def to_signed_unit(samples: Tensor) -> Tensor:
    """Converts uint8 in 0..255 to float32 in [-1, 1]. Points are returned unchanged."""
    return samples.float().div_(127.5).sub_(1) if samples.dtype == torch.uint8 else samples


def to_uint8(samples: Tensor) -> Tensor:
    """Converts float in [-1, 1] to the nearest uint8. Points are returned as float32."""
    if samples.ndim < 3:
        return samples.float()
    return samples.float().add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, count: int) -> Tensor:
    return torch.randperm(count, generator=generator_for(seed, "epoch", epoch))


def batch_indices(seed: int, count: int, batch_size: int, update: int, offset: int = 0) -> Tensor:
    """Returns the sample indices of discriminator update `update`: int64 `[batch_size]`, each below `count`.

    Each epoch is a new permutation of all samples; a batch may span two epochs. The result depends on the arguments
    alone, so there is no sampler state to save. `offset` is added to `update * batch_size`, the number of samples seen
    before this update; it is not 0 after a change of the batch size.
    """
    epoch, start = divmod(max(0, update * batch_size + offset), count)
    parts, missing = [], batch_size
    while missing > 0:
        part = _permutation(seed, epoch, count)[start : start + missing]
        parts.append(part)
        missing -= len(part)
        epoch, start = epoch + 1, 0
    return torch.cat(parts)


@dataclass(frozen=True)
class Batches:
    """The real batches of a run, which depend on the update's number. With `groups`, classes are drawn equally.

    Of each batch, a process returns its share (`distributed/batch_share.py`).
    """

    dataset: Dataset
    seed: int
    batch_size: int
    device: torch.device
    flip: bool | str = False  # True mirrors left to right; other values are "vertical" and "both"
    conditional: bool = False
    offset: int = 0  # samples seen beyond `updates * batch_size`, after a change of the batch size
    groups: ClassGroups | None = None
    # (samples, labels and source images, random=): the condition of a task, see `tasks.Task`; None: the labels alone
    make_condition: Callable[..., Condition] | None = None

    @property
    def per_epoch(self) -> int:
        """The number of batches after which every sample was seen at least once."""
        count = len(self.dataset) if self.groups is None else self.groups.per_epoch
        return -(-count // self.batch_size)

    def draw(self, update: int) -> Batch:
        """Returns the batch of discriminator update `update`, from 0. Along each axis of `flip`, half are mirrored."""
        self.dataset.require_whole()
        indices = self._indices(update)
        samples, condition = self._images(self.dataset.samples, indices, update), self._condition(indices)
        if self.make_condition is None:
            return Batch(samples, condition)
        sources = self.dataset.sources
        image = None if sources is None else self._images(sources, indices, update)
        given = (condition or Condition())._replace(image=image)
        return Batch(samples, self.make_condition(samples, given, random=generator_for(self.seed, "task", update)))

    def _images(self, images: Tensor, indices: Tensor, update: int) -> Tensor:
        """Returns the images or points of a batch on the device, mirrored as `flip` asks for."""
        if isinstance(images, StreamedImages):
            self._fetch_next_window(update, images.decoder.stopped)
            rows = images.batch(update, self._indices)
        else:
            rows = images.index_select(0, indices)  # 75 times as fast as images[indices] for images of 64 px
        samples = to_signed_unit(to_device(rows, self.device))
        for side, purpose in FLIPS[self.flip].items():
            mirrored = own(torch.rand(whole(len(samples)), generator=generator_for(self.seed, purpose, update))) < 0.5
            samples = torch.where(to_device(mirrored, self.device).view(-1, 1, 1, 1), samples.flip(side), samples)
        return samples

    def _fetch_next_window(self, update: int, stopped: threading.Event) -> None:
        """Begins to download the shards of the window after that of this update, if they have addresses."""
        order, fetch = self.dataset.order, self.dataset.fetch_shards
        if order is not None and fetch is not None and self.groups is None:
            following = order.next_window(self.seed, max(0, update * self.batch_size + self.offset))
            fetch(order.shards_at(self.seed, following).tolist(), stopped)

    def condition(self, update: int) -> Condition | None:
        """Returns the condition of the batch of `update`; None if unconditional."""
        if self.make_condition is not None:
            return self.draw(update).condition
        return self._condition(self._indices(update))

    def _indices(self, update: int) -> Tensor:
        """Returns the positions of the batch's samples; of several processes, each has those of its share."""
        if self.groups is not None:
            return own(self.groups.indices(self.seed, self.batch_size, update, self.offset))
        if self.dataset.order is not None:
            start = max(0, update * self.batch_size + self.offset)
            return own(self.dataset.order.rows(self.seed, start, self.batch_size))
        return own(batch_indices(self.seed, len(self.dataset), self.batch_size, update, self.offset))

    def sample_condition(self, step: int) -> Condition | None:
        """Draws a condition for generator step `step` from the labels of the data set; None if unconditional."""
        random = generator_for(self.seed, "conditions", step)
        if self.groups is not None:
            return self._condition(own(self.groups.drawn(random, self.batch_size)))
        return self._condition(own(torch.randint(len(self.dataset), (self.batch_size,), generator=random)))

    def _condition(self, indices: Tensor) -> Condition | None:
        if not self.conditional or self.dataset.labels is None:
            return None
        labels = encode_labels(self.dataset.labels[indices], len(self.dataset.classes))
        return Condition(to_device(labels, self.device))


def check_batch_size(dataset: Dataset, batch_size: int) -> None:
    """Raises UsageError if a batch is larger than the data set."""
    if batch_size > len(dataset):
        have = count_noun(len(dataset), "sample")
        found = f" ({one_line(dataset.source, 300)})"
        raise UsageError(f"batch_size={batch_size}: the data set has {have}, use at most that many{found}")
