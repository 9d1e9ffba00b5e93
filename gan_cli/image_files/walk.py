"""Walks the files of a folder: without cycles, to a limited depth, and through links only as far as allowed."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

from gan_cli.errors import StorageError, UsageError, one_line
from gan_cli.image_files import own_outputs
from gan_cli.image_files.listing import LINK, MOST_LEVELS, TOO_DEEP, is_junk
from gan_cli.image_files.own_outputs import OwnOutput

OF_THE_SYSTEM = ("/dev", "/proc", "/sys")  # these folders are never walked


class Found(NamedTuple):
    """A file or folder."""

    parts: tuple[str, ...]
    item: os.DirEntry[str] | None  # None for a folder
    skipped: str | None = None  # why it is not read


def walk(
    path: str, *, follow_links: bool, left_out: list[OwnOutput] | None = None, wanted: str | None = None
) -> Iterator[Found]:
    """Yields each file and, once, each folder below `path`. Those reached only through links are the last folders.

    Links to files and folders outside `path` are skipped, unless `follow_links` is True; even then, links to folders of
    the system and to folders that contain `path` are. Runs and exports of gan-cli are left out without a word. If
    `left_out` is given, the files of a folder are sorted, other outputs of gan-cli are left out too, except those of
    the kind `wanted`, and all that is left out is added to `left_out`.
    """
    root = os.path.realpath(path)
    seen: set[str] = set()
    folders: list[tuple[str, tuple[str, ...], str]] = [(path, (), root)]
    links: deque[tuple[str, tuple[str, ...], str]] = deque()
    while folders or links:
        folder, parts, real = folders.pop() if folders else links.popleft()
        if real in seen or (parts and real in OF_THE_SYSTEM):
            continue
        seen.add(real)
        if len(parts) > MOST_LEVELS:
            yield Found(parts, None, TOO_DEEP)
            continue
        kind = own_outputs.output_kind_at(folder) if parts else None
        if kind is not None:
            if left_out is not None:
                left_out.append(OwnOutput(kind, parts))
            continue
        yield Found(parts, None)
        items: Iterable[os.DirEntry[str]] = _scanned(folder)
        if left_out is not None:
            items = sorted(items, key=lambda item: item.name)
            ours = own_outputs.files_with_sidecar([each.name for each in items], partial(own_outputs.read_head, folder))
            left_out += [OwnOutput(each, (*parts, name)) for name, each in ours.items() if each != wanted]
            items = [each for each in items if ours.get(each.name, wanted) == wanted]
        for item in items:
            below = (*parts, item.name)
            target = os.path.realpath(item.path) if item.is_symlink() else ""
            if item.is_dir(follow_symlinks=False):
                folders.append((item.path, below, os.path.join(real, item.name)))
            elif target and not _may_follow(target, root, follow_links):
                yield Found(below, item, LINK)
            elif target and os.path.isdir(target):
                links.append((item.path, below, target))
            else:
                yield Found(below, item)


def _may_follow(target: str, root: str, follow_links: bool) -> bool:
    """Returns whether a link to `target` may be followed. A broken link may, because the reader reports it."""
    if _is_within(target, root) or not os.path.exists(target):
        return True
    return follow_links and not _is_within(root, target) and not any(_is_within(target, own) for own in OF_THE_SYSTEM)


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _scanned(folder: str) -> Iterator[os.DirEntry[str]]:
    """Yields the entries of a folder, without junk files. Raises UsageError if the user may not read the folder."""
    try:
        with os.scandir(folder) as items:
            yield from (item for item in items if not is_junk(item.name))
    except PermissionError as error:
        raise UsageError(f"dataset.path: the folder {one_line(folder)} cannot be read ({error.strerror})") from None
    except OSError as error:
        raise StorageError(f"{one_line(folder)}: cannot be read ({error.strerror})") from error
