"""CIFAR-10 and CIFAR-100, read from the binary version, because this version needs no pickle."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from pydantic.dataclasses import dataclass

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

SIDE = 32
PIXELS = 3 * SIDE * SIDE


@dataclass(frozen=True, kw_only=True)
class CifarSource(TarArchive):
    """CIFAR-10 or CIFAR-100. A record is one or two label bytes, then the red, green and blue planes, row by row."""

    files: dict[str, tuple[str, ...]]  # names of the files, by split
    labels: tuple[int, ...]  # number of classes of each label byte; the last label byte is the one used
    most: int  # the most records in a file
    classes: tuple[str, ...]  # of the label that is used


CIFAR10, CIFAR100 = (CifarSource(**PUBLISHED[name]["source"]) for name in ("cifar10", "cifar100"))


def load_cifar(source: CifarSource, *, root: str, download: bool, split: str, image_size: tuple[int, int]) -> Dataset:
    """Returns a split of `source` with labels, read as by `read_files`, with images of `image_size`."""
    readers = dict.fromkeys(source.files[split], partial(_read_records, source))
    found, origin = read_files(source, readers, root=root, allowed=download)
    parts, first = [found[name] for name in readers], len(source.labels)
    images = (part[:, first:].reshape(-1, 3, SIDE, SIDE) for part in parts)
    labels = np.concatenate([part[:, first - 1] for part in parts])
    return Dataset(
        samples=fit_images(images, len(labels), image_size),
        labels=torch.from_numpy(labels.astype(np.int64)),
        classes=source.classes,
        source=source_text(source.title, split, len(labels), origin),
    )


def _read_records(source: CifarSource, member: ArchiveMember) -> np.ndarray:
    """Returns the records of a file, uint8 `[N, bytes of a record]`. Raises UsageError for a wrong size or label."""
    record = len(source.labels) + PIXELS
    records = member.read(member.count(record, source.most) * record).reshape(-1, record)
    for column, known in enumerate(source.labels):
        if (largest := records[:, column].max()) >= known:
            raise damaged_file_error(member.shown, f"has the label {largest}, expected 0 to {known - 1}")
    return records
