"""Stores decoded images in a cache file, which later runs memory-map, or in memory."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from gan_cli.data import mapped_file
from gan_cli.data.dataset import Dataset
from gan_cli.data.mapped_file import CacheEntry, PartialFile, pixel_bytes
from gan_cli.errors import UsageError, count_noun, one_line
from gan_cli.storage.locks import one_at_a_time

MOST_BYTES = 16_000_000_000  # the most bytes of pixels that are held in memory
MIN_CACHE_BYTES = 4 << 20  # smaller data sets are decoded in a few seconds and are not cached


def find_cached(entry: CacheEntry | None) -> Dataset | None:
    """Returns the cached data set with a note, or None if the cache file is missing or damaged."""
    if entry is None or (dataset := mapped_file.load_entry(entry)) is None:
        return None
    return dataclasses.replace(dataset, notes=(_cache_note(dataset, "from", entry),))


@contextlib.contextmanager
def cached_or_locked(entry: CacheEntry | None) -> Iterator[Dataset | None]:
    """Yields the cached data set, or None while this process alone may make it.

    Of several processes that start at once, one decodes the images, and the others wait and map its file.
    """
    if entry is None or (found := find_cached(entry)) is not None:
        yield None if entry is None else found
        return
    waiting = partial(print, "data: another process decodes these images, waiting for it", flush=True)
    with one_at_a_time(entry.path, waiting):
        yield find_cached(entry)


@contextlib.contextmanager
def refuse_too_many(count: int, shape: tuple[int, ...], key: str = "dataset.path") -> Iterator[None]:
    """Raises UsageError in place of MemoryError, with the size of `count` images of `shape`. `key` names the data."""
    try:
        yield
    except MemoryError as error:
        channels, height, width = shape
        size = count * math.prod(shape) / 1e9
        raise UsageError(
            f"{key}: {count_noun(count, 'image')} of {channels} channels, {height} x {width}, take {size:,.1f} GB,"
            f" more than {str(error) or 'there is memory for'}; set dataset.limit or a smaller image_size, or store"
            " them on disk by dataset.cache"
        ) from None


class ImageStore:
    """Collects the decoded images of one data set, in the cache file `entry` or in memory.

    The images are held in memory if `entry` is None or if the data set is small. If the cache file cannot be written,
    the images move to memory and a warning says why. Raises MemoryError if the images do not fit into memory. With
    `keep_small`, a small data set is cached too, because its images take long to make.
    """

    def __init__(
        self, entry: CacheEntry | None, count: int, shape: tuple[int, ...], *, keep_small: bool = False
    ) -> None:
        self._room, self._shape, self._each, self._count = count, shape, math.prod(shape), 0
        self._entry = entry if keep_small or count * self._each >= MIN_CACHE_BYTES else None
        self._note: str | None = None  # for the user
        self._part: PartialFile | None = None
        self._memory: Tensor | None = None
        try:
            if self._entry is None:
                self._hold_in_memory()
            else:
                self._part = mapped_file.create_partial_file(self._entry.folder, count * self._each)
        except OSError as error:
            self._give_up(error)

    def add(self, images: np.ndarray) -> None:
        """Adds images uint8 `[n, C, H, W]`."""
        if self._part is not None and len(images):  # 0: none of a block could be read
            try:
                mapped_file.write_at(
                    self._part.fd, np.ascontiguousarray(images).data.cast("B"), self._count * self._each
                )
            except OSError as error:
                self._give_up(error)
        if self._memory is not None:
            self._memory[self._count : self._count + len(images)] = torch.from_numpy(images)
        self._count += len(images)

    def samples(self) -> Tensor:
        """Returns all images added so far, uint8 `[N, C, H, W]` with N >= 1. Images in a cache file are read-only."""
        if self._part is not None:
            try:
                return mapped_file.mapped_tensor(
                    mapped_file.map_file(self._part.fd), torch.uint8, 0, (self._count, *self._shape)
                )
            except OSError as error:
                self._give_up(error)
        assert self._memory is not None
        return self._memory[: self._count]

    def finalize(self, dataset: Dataset) -> Dataset:
        """Completes the cache file, if any. Returns the data set, with a note if it was cached or could not be."""
        if self._part is not None and self._entry is not None:
            try:
                mapped_file.finish_file(self._part, self._entry.path, dataset)
                dataset = dataclasses.replace(dataset, mapped=mapped_file.map_file(self._part.fd))
                self._note = _cache_note(dataset, "written to", self._entry)
                mapped_file.remove_outdated(self._entry)
            except OSError as error:  # the mapped images stay usable in this run
                self._note = _cache_warning(self._entry, error, "they will be decoded again next time")
            dataset = dataclasses.replace(dataset, digest=dataset.fingerprint)
        return dataclasses.replace(dataset, notes=(*dataset.notes, self._note)) if self._note else dataset

    def _give_up(self, error: OSError) -> None:
        """Moves the images from the cache file to memory, and keeps a warning that says why."""
        assert self._entry is not None
        self._note = _cache_warning(self._entry, error, "they are held in memory")
        self._hold_in_memory(f", and dataset.cache cannot be written ({error.strerror})")
        if self._part is not None and self._memory is not None and self._count:
            so_far = (self._count, *self._shape)
            self._memory[: self._count] = mapped_file.mapped_tensor(
                mapped_file.map_file(self._part.fd), torch.uint8, 0, so_far
            )
        self.close()

    def _hold_in_memory(self, why: str = "") -> None:
        """Allocates memory for all images. Raises MemoryError, whose text ends with `why`, if they do not fit."""
        if self._room * self._each > MOST_BYTES:
            raise MemoryError(f"the {MOST_BYTES / 1e9:.0f} GB that are held in memory{why}")
        try:
            self._memory = torch.empty((self._room, *self._shape), dtype=torch.uint8)
        except RuntimeError:
            raise MemoryError(f"there is memory for{why}") from None

    def close(self) -> None:
        """Removes the cache file, unless it was completed."""
        if self._part is not None:
            os.close(self._part.fd)
            self._part.path.unlink(missing_ok=True)  # a completed file was renamed
            self._part = None


def draw_images(
    entry: CacheEntry | None,
    images: Iterable[np.ndarray],
    shape: tuple[int, ...],
    describe: Callable[[Tensor], Dataset],
) -> Dataset:
    """Stores drawn images, uint8 `[C, H, W]` each, in the cache file `entry`, if given, or in memory.

    `shape` is `(N, C, H, W)` for at most N images. `describe` returns the data set of the samples. Raises UsageError if
    the images do not fit into memory.
    """
    try:
        with contextlib.closing(ImageStore(entry, shape[0], shape[1:], keep_small=True)) as store:
            for image in images:
                store.add(image[None])
            return store.finalize(describe(store.samples()))
    except MemoryError as error:
        raise UsageError(f"{count_noun(shape[0], 'image')} take more than {error}; use a smaller image_size") from None


def _cache_note(dataset: Dataset, verb: str, entry: CacheEntry) -> str:
    size = pixel_bytes(dataset)
    shown = f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
    return f"cache: {shown} of images {verb} {one_line(entry.path)}"


def _cache_warning(entry: CacheEntry, error: OSError, instead: str) -> str:
    why = error.strerror or error
    return f"warning: dataset.cache={one_line(entry.folder)}: images cannot be cached there ({why}), {instead}"
