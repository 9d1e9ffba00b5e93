"""Finds the tar files (shards) of a data set that is larger than the memory: by pattern, folder, list or address."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Sequence
from typing import Any

from gan_cli.errors import UsageError, count_noun, first_few, one_line
from gan_cli.image_files.formats import TARS
from gan_cli.image_labels.image_paths import Paths, split_paths

MOST_SHARDS = 100_000
BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}")
EXAMPLE = "as shards/train-{0000..0099}.tar, a folder of .tar files, or a list of them"
TEST_WORDS = {"test", "val", "valid", "validation"}


def is_address(path: str) -> bool:
    """Returns whether a path is an address that shards are downloaded from."""
    return path.startswith(("http://", "https://"))


def has_addresses(path: Paths | None) -> bool:
    """Returns whether a path, or one of several, is such an address."""
    return path is not None and any(map(is_address, split_paths(path)))


def is_downloaded(dataset: str, path: Paths | None) -> bool:
    """Returns whether the images of a data set of this name come from addresses, or from the hub by a name."""
    if dataset == "huggingface":
        return path is not None and not all(os.path.exists(os.path.expanduser(each)) for each in split_paths(path))
    return dataset == "webdataset" and has_addresses(path)


def find_shards(path: Paths, split: str = "train", key: str = "dataset.path") -> tuple[str, ...]:
    """Returns the paths or addresses of the shards that `path` names, in order.

    Numbers in braces count, `{0000..0099}`, and `{a,b}` lists. A folder gives its .tar files, sorted by name, those
    whose names have a word as test or val for `split=test` alone. Raises UsageError if there are none, if
    one does not exist, or if one is named twice.
    """
    found: list[str] = []
    for each in split_paths(path):
        for name in expand_braces(os.path.expanduser(each), key):
            found += [name] if is_address(name) else _local_shards(name, split, key)
        if len(found) > MOST_SHARDS:
            raise UsageError(f"{key}={one_line(each)}: more than {MOST_SHARDS:,} files")
    if not found:
        raise UsageError(f"{key}=[]: name the shards, {EXAMPLE}")
    if len(set(found)) < len(found):
        twice = next(name for number, name in enumerate(found) if name in found[:number])
        raise UsageError(f"{key}: {one_line(twice)} is named twice: name it once")
    return tuple(found)


def expand_braces(pattern: str, key: str = "dataset.path") -> list[str]:
    """Returns the names that a pattern with `{0..9}` or `{a,b}` stands for; leading zeros give the number of digits."""
    if os.path.exists(pattern):
        return [pattern]
    parts: list[list[str]] = []
    position, count = 0, 1
    for match in BRACES.finditer(pattern):
        first, last, names = match.groups()
        if names is None and int(last) - int(first) >= MOST_SHARDS:
            raise UsageError(f"{key}={one_line(pattern)}: more than {MOST_SHARDS:,} files")
        parts += [[pattern[position : match.start()]], names.split(",") if names else _numbers(first, last)]
        position, count = match.end(), count * len(parts[-1])
        if not parts[-1] or count > MOST_SHARDS:
            raise UsageError(f"{key}={one_line(pattern)}: expected {{first..last}}, of at most {MOST_SHARDS:,} files")
    return ["".join(each) for each in itertools.product(*parts, [pattern[position:]])]


def _numbers(first: str, last: str) -> list[str]:
    return [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]


def _local_shards(path: str, split: str, key: str) -> list[str]:
    """Returns the shard at a path, those in a folder, or those that a pattern with `*` matches."""
    if os.path.isdir(path):
        names = sorted(name for name in os.listdir(path) if name.endswith(TARS) and not name.startswith("."))
        chosen = _of_split(names, split)
        if not chosen:
            what = "no .tar file"
            if names:
                what = "no shards of a test split" if split == "test" else "shards of a test split alone"
            raise UsageError(f"{key}={one_line(path)}: the folder has {what}; expected shards, {EXAMPLE}")
        return [os.path.join(path, name) for name in chosen]
    if not os.path.exists(path) and "*" in path:
        if found := sorted(glob.glob(path)):
            return found
        raise UsageError(f"{key}={one_line(path)}: matches no file")
    if not os.path.isfile(path):
        raise UsageError(f"{key}={one_line(path)}: not found; expected shards, {EXAMPLE}")
    return [path]


def _of_split(names: Sequence[str], split: str) -> list[str]:
    """Returns the names that have one of the words of a test split, as `val-0000.tar`, or for `train` all others."""
    return [name for name in names if TEST_WORDS.isdisjoint(re.split(r"[^a-z]+", name.lower())) == (split == "train")]


def describe_shards(path: Paths, count: int) -> str:
    """Returns the number of shards and the path as the user typed it, for messages."""
    return f"{count_noun(count, 'shard')} of {first_few([one_line(each, 100) for each in split_paths(path)], 2)}"


def check_shards(section: Any) -> None:
    """Raises UsageError if a section of the config names shards to train on that are not there."""
    if section.name == "webdataset" and section.path is not None and section.split == "train":
        find_shards(section.path)
