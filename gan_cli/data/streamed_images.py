"""A tensor of images that are decoded when they are read, and batches of it that are decoded ahead of their use."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from gan_cli.errors import UsageError, count_noun

AHEAD = 4  # batches that are decoded before they are needed
CHUNK = 32  # images that a thread decodes in one call
MOST_BYTES = 1 << 28  # of images that an operation on all of them may decode into memory
aten = torch.ops.aten


class ImageRows(Protocol):
    """Reads and decodes images by their numbers. May be called from several threads."""

    shape: tuple[int, int, int]  # of an image: (C, H, W)

    def __len__(self) -> int:
        """The number of images."""

    def decode(self, rows: Sequence[int], stopped: threading.Event) -> Tensor:
        """Returns the images of these numbers, uint8 `[n, C, H, W]`. Raises GanCliError if one cannot be used.

        Once `stopped` is set, its downloads end by such an error.
        """


class BatchDecoder:
    """Decodes batches in a pool of threads: those of the next updates while a run trains on the current one."""

    def __init__(self, source: ImageRows) -> None:
        self.source = source
        self._pool: ThreadPoolExecutor | None = None
        self._pending: dict[int, tuple[Tensor, list[Future[Tensor]]]] = {}  # by update
        self._last = -1
        self._stopped = threading.Event()

    @property
    def stopped(self) -> threading.Event:
        """The event that `stop` sets to end the reads and downloads that begin now; those after it have another one."""
        if self._stopped.is_set():
            self._stopped = threading.Event()
        return self._stopped

    def decode(self, rows: Tensor) -> Tensor:
        """Returns the images of these numbers, uint8 `[n, C, H, W]`.

        They are read in the order of their numbers, so that none of their shards is needed again after the next.
        """
        ordered = rows.sort(stable=True)
        images = self._wait_for(self._submit(ordered.values))
        return images if torch.equal(ordered.values, rows) else images[ordered.indices.argsort()]

    def stop(self) -> None:
        """Ends what is decoded ahead, and its downloads. The next read begins again."""
        pool, self._pool = self._pool, None
        self._pending.clear()
        self._stopped.set()
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def batch(self, update: int, rows: Callable[[int], Tensor]) -> Tensor:
        """Returns the batch of an update. `rows` gives the numbers of its images, and of those of later updates.

        While updates follow each other, the next AHEAD ones are decoded meanwhile. The result depends on `rows` alone.
        """
        needed, following = rows(update), update - self._last in (0, 1)
        self._last = update
        known, parts = self._pending.get(update, (None, []))
        if known is None or not torch.equal(known, needed):
            parts = self._submit(needed)
            self._pending[update] = needed, parts
        for later in range(update + 1, update + 1 + AHEAD) if following else ():
            if later not in self._pending:
                chosen = rows(later)
                self._pending[later] = chosen, self._submit(chosen)
        for other in [other for other in self._pending if following and not update <= other <= update + AHEAD]:
            for part in self._pending.pop(other)[1]:
                part.cancel()
        return self._wait_for(parts)

    def _wait_for(self, parts: Sequence[Future[Tensor]]) -> Tensor:
        """Returns the images of all parts. Raises the first error of them, after which the next read begins again."""
        try:
            return _joined(parts, self.source.shape)
        except BaseException:  # else the process would wait at its end for those that are being read
            self.stop()
            raise

    def _submit(self, rows: Tensor) -> list[Future[Tensor]]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="decode")
        chunks = [part.tolist() for part in rows.split(CHUNK)] if len(rows) else []
        return [self._pool.submit(self.source.decode, chunk, self.stopped) for chunk in chunks]


def _joined(parts: Sequence[Future[Tensor]], shape: tuple[int, ...]) -> Tensor:
    """Returns the images of all parts. Raises the first error of them."""
    return torch.cat([part.result() for part in parts]) if parts else torch.empty((0, *shape), dtype=torch.uint8)


class StreamedImages(Tensor):
    """Images uint8 `[N, C, H, W]` of which only the shape is in memory.

    An index, such as `images[rows]` or `images.index_select(0, rows)`, decodes these images; a slice is again such a
    tensor. Any other operation decodes all of its images, and raises UsageError if they have more than MOST_BYTES.
    """

    decoder: BatchDecoder
    numbers: range

    @staticmethod
    def __new__(cls, decoder: BatchDecoder, numbers: range) -> StreamedImages:
        shape = (len(numbers), *decoder.source.shape)
        images: Any = Tensor._make_wrapper_subclass(cls, shape, dtype=torch.uint8)
        images.decoder, images.numbers = decoder, numbers
        return images

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"StreamedImages({list(self.shape)})"

    def __iter__(self) -> Iterator[Tensor]:
        """Yields the images, of which a few are in memory at once."""
        for start in range(0, len(self), CHUNK):
            yield from self._rows(torch.arange(start, min(start + CHUNK, len(self))))

    def read(self) -> Tensor:
        """Decodes all images. Raises UsageError if they have more than MOST_BYTES."""
        size = math.prod(self.shape)
        if size > MOST_BYTES:
            raise UsageError(
                f"this needs {count_noun(len(self), 'image')} in memory at once, {size / 1e9:,.1f} GB, and those of"
                f" dataset=webdataset are decoded when they are read: at most {MOST_BYTES >> 20} MiB, set dataset.limit"
            )
        return self._rows(torch.arange(len(self)))

    def _rows(self, index: Tensor) -> Tensor:
        """Decodes the images at these positions, int64 `[n]` of any shape; negative ones count from the end."""
        index = torch.where(index < 0, index + len(self), index)
        if len(index) and not 0 <= int(index.min()) <= int(index.max()) < len(self):
            raise IndexError(f"expected positions from {-len(self)} to {len(self) - 1}")
        return self.decoder.decode(self.numbers.start + self.numbers.step * index)

    def batch(self, update: int, rows: Callable[[int], Tensor]) -> Tensor:
        """Returns `self[rows(update)]`, and decodes those of the next updates meanwhile. `self` is not a slice."""
        return self.decoder.batch(update, rows)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        images, rest = args[0], args[1:]
        if isinstance(images, StreamedImages):
            if function == aten.index_select.default and rest[0] == 0:
                return images._rows(rest[1])
            if function == aten.index.Tensor and len(rest[0]) == 1 and rest[0][0].ndim == 1:
                index = rest[0][0]
                return images._rows(index.nonzero().flatten() if index.dtype == torch.bool else index)
            if function == aten.select.int and rest[0] == 0:
                return images._rows(torch.tensor([rest[1]]))[0]
            if function == aten.slice.Tensor and (not rest or rest[0] == 0):
                start, end, step = (*rest[1:], None, None, None)[:3]
                return StreamedImages(images.decoder, images.numbers[start : end : step or 1])
            if function in (aten.detach.default, aten.alias.default):
                return images
        args, kwargs = tree_map_only(StreamedImages, StreamedImages.read, (args, kwargs or {}))
        return function(*args, **kwargs)


def stop_decoding(images: Tensor | None) -> None:
    """Ends what is decoded ahead of images that are decoded when they are read: a process waits for it at its end."""
    if isinstance(images, StreamedImages):
        images.decoder.stop()


def is_streamed(images: Tensor | None) -> bool:
    """Returns whether images are decoded when they are read."""
    return isinstance(images, StreamedImages)
