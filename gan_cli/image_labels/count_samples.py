"""Counts the samples of the user's own data without decoding one, so that a recipe can be chosen by their number."""

from __future__ import annotations

import tarfile
from functools import lru_cache
from typing import Any

from gan_cli.errors import GanCliError
from gan_cli.image_files.formats import READ_SUFFIXES
from gan_cli.image_labels.attributes import LabelOptions
from gan_cli.image_labels.find_pairs import PairOptions, count_pairs
from gan_cli.image_labels.image_paths import count_images
from gan_cli.image_labels.shard_paths import find_shards, is_address
from gan_cli.storage.archive_errors import DAMAGED


def count_own(options: Any, most: int) -> int | None:
    """Returns the number of samples that a section of `dataset=folder` or `webdataset` names; None if it is not known.

    Those in shards are counted up to `most`, which stands for all larger numbers.
    """
    if options.name == "webdataset":
        shards = options.split == "train" and options.classes is None
        return count_in_shards(options.path, most) if shards else None
    keys = ("labels", "labels_file_column", "labels_columns", "labels_bins", "labels_version")
    labelling = LabelOptions(*(getattr(options, key) for key in keys))
    pairs = (options.pairs, options.direction)
    return count_in_folder(options.path, options.split, labelling, options.classes, options.follow_links, pairs)


@lru_cache(maxsize=8)  # a command counts more than once
def count_in_folder(
    path: Any, split: str, how: Any, classes: tuple[str, ...] | None, links: bool, pairs: tuple[str, str]
) -> int | None:
    """Returns the number of pairs or images at `path`."""
    found = count_pairs(path, how, split, PairOptions(*pairs), follow_links=links)
    return count_images(path, split, how, classes, follow_links=links) if found is None else found


@lru_cache(maxsize=8)
def count_in_shards(path: Any, most: int) -> int | None:
    """Returns the number of samples with an image in local shards, at most `most`, by reading the names in them.

    None if some have addresses or cannot be read.
    """
    count = 0
    try:
        names = find_shards(path)
        if any(map(is_address, names)):
            return None
        for name in names:
            if count == most:
                break
            with tarfile.open(name, "r:") as tar:
                before = None
                while count < most and (info := tar.next()) is not None:
                    tar.members.clear()  # type: ignore[attr-defined]  # else all of them are kept
                    folder, _, file = info.name.rpartition("/")
                    key = (folder, file.partition(".")[0])
                    if info.isreg() and key != before and file.lower().endswith(READ_SUFFIXES):
                        count, before = count + 1, key
    except (GanCliError, OSError, *DAMAGED):
        return None
    return count
