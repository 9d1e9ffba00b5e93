"""Numbered sub-folders that are shards of one data set and not classes, as in StyleGAN archives and FFHQ."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

SHARD = re.compile(r"[0-9]{5,}")
THOUSAND = 1000  # files in a folder of FFHQ; the number of the first file is the name of the folder
NUMBER = re.compile(r"[0-9]+")


def named_like_shards(folders: Sequence[str]) -> bool:
    """Returns whether all names are numbers of the same length, five digits or more: 00000, 00001."""
    same = len({len(name) for name in folders}) == 1
    return bool(folders) and same and all(map(SHARD.fullmatch, folders)) and min(folders).startswith("0")


def are_shards(names: Mapping[str, Sequence[str]]) -> bool:
    """Returns whether sub-folders are shards. `names` holds the names of the files in each sub-folder.

    In shards, the numbering of the files continues from one folder to the next. Classes may also have such folder
    names, as 00000 to 00042 in GTSRB, but there the numbering begins again in each folder.
    """
    folders = sorted(names)
    if not named_like_shards(folders):
        return False
    if len(folders) > 1 and all(int(folder) % THOUSAND == 0 for folder in folders):
        return True
    last = -1
    for folder in folders:
        numbers = [_number(name) for name in names[folder]]
        if not numbers or None in numbers:
            return False
        known = [number for number in numbers if number is not None]
        if min(known) <= last:
            return False
        last = max(known)
    return True


def _number(name: str) -> int | None:
    """Returns the last number in the name of a file, or None if there is no number."""
    found = NUMBER.findall(os.path.splitext(name)[0])
    return int(found[-1][-30:]) if found else None
