"""STL-10: images of 96x96 pixels; 5,000 with labels for training, 8,000 for testing, and 100,000 without labels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from gan_cli.config.options.published_datasets import PUBLISHED
from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets.downloaded_archives import (
    ArchiveMember,
    TarArchive,
    damaged_file_error,
    fit_images,
    read_files,
    source_text,
)
from gan_cli.data.decoding.resize import CHUNK
from gan_cli.errors import count_noun

SIDE = 96
PIXELS = 3 * SIDE * SIDE
MOST = 100_000  # the most images in a file
STL10 = TarArchive(**PUBLISHED["stl10"]["source"])
CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")


def load_stl10(*, root: str, download: bool, split: str, image_size: tuple[int, int]) -> Dataset:
    """Returns a split of STL-10, read as by `read_files`. The split `unlabeled` has no labels."""
    images, labels = f"{split}_X.bin", f"{split}_y.bin"
    readers: dict[str, Callable[[ArchiveMember], Tensor]] = {images: partial(_read_images, size=image_size)}
    if split != "unlabeled":
        readers[labels] = _read_labels
    found, origin = read_files(STL10, readers, root=root, allowed=download)
    samples = found[images]
    if labels in found and len(found[labels]) != len(samples):
        what = f"{count_noun(len(samples), 'image')} do not fit {len(found[labels]):,} labels"
        raise damaged_file_error(f"{STL10.title} {origin}", what)
    return Dataset(
        samples=samples,
        labels=found.get(labels),
        classes=CLASSES if labels in found else (),
        source=source_text(STL10.title, split, len(samples), origin),
    )


def _read_images(member: ArchiveMember, size: tuple[int, int]) -> Tensor:
    """Returns the images of a file as uint8 `[N, 3, H, W]`. At most one chunk is in memory at the original size."""
    count = member.count(PIXELS, MOST)
    lengths = (min(CHUNK, count - start) for start in range(0, count, CHUNK))
    chunks = (member.read(length * PIXELS).reshape(-1, 3, SIDE, SIDE) for length in lengths)
    # Each plane is stored column by column.
    return fit_images((columns.swapaxes(2, 3) for columns in chunks), count, size)


def _read_labels(member: ArchiveMember) -> Tensor:
    """Returns labels int64 `[N]`, from 0; in the file they count from 1. Raises UsageError if one is out of range."""
    labels = member.read(member.count(1, MOST))
    low, high = labels.min(), labels.max()
    if low < 1 or high > len(CLASSES):
        raise damaged_file_error(member.shown, f"has labels from {low} to {high}, expected 1 to {len(CLASSES)}")
    return torch.from_numpy(labels.astype(np.int64) - 1)
