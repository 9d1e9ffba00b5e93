"""The data set `webdataset`: images in tar files of WebDataset's format, decoded while the run trains.

Only the index is in memory, and a few batches. The library `webdataset` is not used: it reads shards from start to end
and shuffles in a buffer, so that a position is reached only by reading all before it. With an index of offsets, the
batch of any update is read at once, and the standard library reads the format.
"""

from __future__ import annotations

import hashlib
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan_cli.config.options.datasets import CROP, MAX_PIXELS
from gan_cli.data.dataset import Dataset
from gan_cli.data.decoding.conversion import TargetFormat
from gan_cli.data.decoding.decode import decode_one
from gan_cli.data.folder import NO_CACHE
from gan_cli.data.selection import Selection
from gan_cli.data.shards.shard_files import ShardFiles, ShardsAhead
from gan_cli.data.shards.shard_index import ShardIndex, build_index, check_bad
from gan_cli.data.shards.tar_index import TarOptions, name_at
from gan_cli.data.stream_order import StreamOrder
from gan_cli.data.streamed_images import BatchDecoder, StreamedImages
from gan_cli.errors import UsageError, count_noun, first_few, one_line
from gan_cli.image_files.formats import BadImageError
from gan_cli.image_labels.image_paths import Paths
from gan_cli.image_labels.shard_paths import describe_shards, find_shards, has_addresses

MOST_RECORDED = 1000  # shards and bad samples that a run's record names


class ShardImages:
    """Reads and decodes the images of shards by their numbers, in any thread."""

    def __init__(self, files: ShardFiles, index: ShardIndex, target: TargetFormat, *, skip: bool) -> None:
        self.shape = target.shape
        self._files, self._index, self._target, self._skip = files, index, target, skip
        self._ends = index.counts.cumsum(0).numpy()

    def __len__(self) -> int:
        return len(self._index)

    def decode(self, rows: Sequence[int], stopped: threading.Event) -> Tensor:
        """Returns the images of these numbers, uint8 `[n, C, H, W]`. Raises UsageError if one cannot be used.

        Raises StorageError if a shard cannot be read, or has to be downloaded after `stopped` is set.
        """
        pixels = np.empty((len(rows), *self.shape), np.uint8)
        for position, row in sorted(enumerate(rows), key=lambda pair: pair[1]):  # in the order of the files
            pixels[position] = self._usable(row, stopped)
        return torch.from_numpy(pixels)

    def _usable(self, row: int, stopped: threading.Event) -> np.ndarray:
        """Decodes an image. With `skip`, the next of the same class and shard replaces one that cannot be used."""
        for candidate in self._replacements(row):
            try:
                return self._decode(candidate, stopped)
            except BadImageError as error:
                self._files.require_unchanged(self._shard_of(candidate))
                if not self._skip:
                    named = self._named(candidate, stopped)
                    raise UsageError(
                        f"{named}: cannot be used ({error}); write the shard again without it, or set"
                        " dataset.on_bad=skip"
                    ) from None
        named = self._named(row, stopped)
        raise UsageError(f"{named}: neither this image nor any other of its class in the shard can be used")

    def _replacements(self, row: int) -> Iterator[int]:
        """Yields the number of an image, then those that may replace it: a function of the data alone."""
        yield row
        shard = self._shard_of(row)
        end = int(self._ends[shard])
        start = end - int(self._index.counts[shard])
        labels = self._index.labels
        for other in (*range(row + 1, end), *range(start, row)):
            if labels is None or labels[other] == labels[row]:
                yield other

    def _decode(self, row: int, stopped: threading.Event) -> np.ndarray:
        shard = self._shard_of(row)
        content = self._files.read(shard, int(self._index.offsets[row]), int(self._index.sizes[row]), stopped)
        return decode_one(content, self._target)[0]

    def _shard_of(self, row: int) -> int:
        return int(np.searchsorted(self._ends, row, side="right"))

    def _named(self, row: int, stopped: threading.Event) -> str:
        shard = self._shard_of(row)
        name = one_line(self._files.names[shard], 120)
        path = str(self._files.open_path(shard, stopped))
        return f"dataset.path: {name_at(path, int(self._index.offsets[row]))} in {name}"


def build_webdataset(
    *,
    path: Paths,
    test_path: Paths | None,
    image_size: tuple[int, int],
    image_channels: int,
    background: str,
    split: str,
    selection: Selection,
    image: str | None = None,
    label: str | None = None,
    fit: str = CROP,
    buffer: int,
    cache: str,
    cache_size: float,
    on_bad: str,
    max_pixels: int = MAX_PIXELS,
    at_once: bool = False,
) -> Dataset:
    """Returns the images of shards, which are decoded when they are read, with labels if the shards have any.

    `at_once` says that samples are drawn from all shards at once, in place of those of a window.

    Raises UsageError if a shard, or a sample, cannot be used; StorageError if reading or downloading fails.
    """
    chosen, key = _shards_of_split(path, test_path, split)
    folder = None if cache == NO_CACHE else Path(os.path.expanduser(cache))
    most_bytes = int(cache_size * 1e9)
    files = ShardFiles(find_shards(chosen, split, key), folder, most_bytes)
    whole = build_index(files, TarOptions(image, label), on_bad)
    check_bad(whole, on_bad)
    index = whole.select(selection)
    order = StreamOrder(index.counts, buffer)
    window = _check_window(order, index, most_bytes, at_once=at_once) if has_addresses(chosen) else most_bytes
    files.expect([shard.size for shard in index.shards], [shard.sha256 for shard in index.shards])
    target = TargetFormat(image_size, image_channels, background, fit, profiles="convert", max_pixels=max_pixels)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # about odd metadata; a filter of one thread is that of all
    images = ShardImages(files, index, target, skip=on_bad == "skip")
    return Dataset(
        samples=StreamedImages(BatchDecoder(images), range(len(index))),
        source=_source_line(index, whole, chosen, order),
        labels=index.labels,
        classes=index.classes,
        digest=_fingerprint(index, target, selection, TarOptions(image, label), on_bad),
        changes=_record(index, files),
        order=order,
        fetch_shards=ShardsAhead(files).fetch if 2 * window <= most_bytes else None,
    )


def _shards_of_split(path: Paths, test_path: Paths | None, split: str) -> tuple[Paths, str]:
    """Returns the path of the shards of a split, and the key that named it. Raises UsageError if there is none."""
    if split == "test" and test_path is not None:
        return test_path, "dataset.test_path"
    if split == "test" and not os.path.isdir(os.path.expanduser(path if isinstance(path, str) else "")):
        raise UsageError("dataset.split=test: name the shards of the test split by dataset.test_path")
    return path, "dataset.path"


def _check_window(order: StreamOrder, index: ShardIndex, most_bytes: int, *, at_once: bool) -> int:
    """Returns the most bytes of shards that are read at a time. Raises UsageError if the downloads cannot hold them."""
    sizes, limit = torch.tensor([shard.size for shard in index.shards]), f"dataset.cache_size={most_bytes / 1e9:g}"
    if at_once and int(sizes.sum()) > most_bytes:
        raise UsageError(
            f"dataset.balance=true: draws from all shards at once, {sizes.sum() / 1e9:.3g} GB, more than {limit}, so"
            " that every batch would download some again; set a larger cache_size, or download the shards first"
        )
    needed = order.largest_window(sizes)
    if needed > most_bytes:
        raise UsageError(
            f"dataset.buffer={order.buffer}: takes shards of up to {needed / 1e9:.3g} GB at a time, more than"
            f" {limit}; set a smaller buffer or a larger cache_size"
        )
    return needed


def _fingerprint(
    index: ShardIndex, target: TargetFormat, selection: Selection, options: TarOptions, on_bad: str
) -> str:
    """Returns the sha256 of what the images depend on: the content of the shards, and how they are chosen and read."""
    skipped = on_bad if index.bad_count else ""
    facts = ("webdataset", [shard.sha256 for shard in index.shards], target, selection, options, skipped, index.classes)
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _source_line(index: ShardIndex, whole: ShardIndex, path: Paths, order: StreamOrder) -> str:
    """Returns one line about the images, their classes, and how they are read."""
    text = count_noun(len(index), "image")
    if index.labels is not None:
        counts = index.labels[index.labels >= 0].bincount(minlength=len(index.classes)).tolist()
        names = [f"{one_line(name, 40)} {count:,}" for name, count in zip(index.classes, counts, strict=True)]
        text += f" in {count_noun(len(names), 'class', 'classes')} ({first_few(names, 10)})"
        if 1 < len(names) == len(index):
            text += ", each image a class of its own,"
    parts = [f"{text} from {describe_shards(path, len(index.shards))}"]
    if len(index) < len(whole):
        parts.append(f"{len(index):,} of {len(whole):,} selected")
    if index.bad_count:
        parts.append(f"{index.bad_count:,} left out: {first_few(index.bad, 5)}")
    parts += index.remarks
    windows = order.buffer < len(index)
    return "; ".join(
        [*parts, f"decoded while training, shuffled {f'{order.buffer:,} at a time' if windows else 'as one'}"]
    )


def _record(index: ShardIndex, files: ShardFiles) -> dict[str, object]:
    """Returns what a run's record has about the shards."""
    pairs = zip(files.names, index.shards, strict=True)
    shards = [{"name": name, "samples": shard.samples, "sha256": shard.sha256} for name, shard in pairs]
    return {"used": len(index), "shards": shards[:MOST_RECORDED], "left_out": list(index.bad[:MOST_RECORDED])}
