"""CIFAR-10 and CIFAR-100, read from the binary version, because this version needs no pickle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

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

SIDE = 32
PIXELS = 3 * SIDE * SIDE
MIRRORS = ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/")


@dataclass(frozen=True, kw_only=True)
class CifarSource(TarArchive):
    """The published files of CIFAR-10 or CIFAR-100. `files` are the names of the files of each split.

    A record in a file is one or two label bytes, then the red, green and blue planes, each stored row by row. `labels`
    holds the number of classes of each label byte; the last label byte is the one used. `classes` are the names of the
    classes of this label byte.
    """

    files: dict[str, tuple[str, ...]]
    labels: tuple[int, ...]
    most: int  # the most records in a file
    classes: tuple[str, ...]


CIFAR10 = CifarSource(
    title="CIFAR-10",
    name="cifar-10-binary.tar.gz",
    md5="c32a1d4ab5d03f1284b67883e8d87530",
    mirrors=MIRRORS,
    folder="cifar-10-batches-bin",
    pickles=("cifar-10-batches-py", "cifar-10-python.tar.gz"),
    files={"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)},
    labels=(10,),
    most=10_000,
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)
CIFAR100 = CifarSource(
    title="CIFAR-100",
    name="cifar-100-binary.tar.gz",
    md5="03b5dce01913d631647c71ecec9e9cb8",
    mirrors=MIRRORS,
    folder="cifar-100-binary",
    pickles=("cifar-100-python", "cifar-100-python.tar.gz"),
    files={"train": ("train.bin",), "test": ("test.bin",)},
    labels=(20, 100),  # the superclass, then the class
    most=50_000,
    classes=(
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
        "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
        "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
        "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard",
        "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
        "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
        "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
        "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
        "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger",
        "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
    ),
)  # fmt: skip


def load_cifar(source: CifarSource, *, root: str, download: bool, split: str, image_size: tuple[int, int]) -> Dataset:
    """Returns a split of `source` with labels and with images of `image_size`, (height, width).

    Reads the files in `root`, or downloads them if they are missing and `download` is True.
    """
    readers = dict.fromkeys(source.files[split], partial(_read_records, source))
    found, origin = read_files(source, readers, root=root, allowed=download)
    parts = [found[name] for name in readers]
    count = sum(len(part) for part in parts)
    labels = np.concatenate([part[:, len(source.labels) - 1] for part in parts])
    return Dataset(
        samples=fit_images(_iter_images(source, parts), count, image_size),
        labels=torch.from_numpy(labels.astype(np.int64)),
        classes=source.classes,
        source=source_text(source.title, split, count, origin),
    )


def _read_records(source: CifarSource, member: ArchiveMember) -> np.ndarray:
    """Returns the records of a file, uint8 `[N, bytes of a record]`.

    Raises UsageError if the size of the file is wrong or if a label is out of range.
    """
    record = len(source.labels) + PIXELS
    records = member.read(member.count(record, source.most) * record).reshape(-1, record)
    for column, known in enumerate(source.labels):
        if (largest := records[:, column].max()) >= known:
            raise damaged_file_error(member.shown, f"has the label {largest}, expected 0 to {known - 1}")
    return records


def _iter_images(source: CifarSource, parts: list[np.ndarray]) -> Iterator[np.ndarray]:
    for part in parts:
        for start in range(0, len(part), CHUNK):
            yield part[start : start + CHUNK, len(source.labels) :].reshape(-1, 3, SIDE, SIDE)
