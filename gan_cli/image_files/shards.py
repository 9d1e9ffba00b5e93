"""Numbered folders that are parts of one data set and no classes, as StyleGAN's archives and FFHQ have them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

SHARD = re.compile(r"[0-9]{5,}")
THOUSAND = 1000  # files of a folder of FFHQ, whose name is the number of the first
NUMBER = re.compile(r"[0-9]+")


def named_like_shards(folders: Sequence[str]) -> bool:
    """Whether all are numbers of five digits or more, written to the same length: 00000, 00001."""
    same = len({len(name) for name in folders}) == 1
    return bool(folders) and same and all(map(SHARD.fullmatch, folders)) and min(folders).startswith("0")


def are_shards(names: Mapping[str, Sequence[str]]) -> bool:
    """Whether sub-folders, with the names of their files, are parts: the files are numbered on from one to the next.

    Classes may have such names too, as 00000 to 00042 of the traffic signs: their files begin again at each.
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
    """The last number in a file's name."""
    found = NUMBER.findall(os.path.splitext(name)[0])
    return int(found[-1][-30:]) if found else None
