"""Finds data that are not at the configured path: in the start folder of a run, or at the path of `data=`."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from gan_cli.config.options.untrusted_files import ALLOWED_BY
from gan_cli.data.folder import NO_CACHE
from gan_cli.errors import UsageError, one_line
from gan_cli.image_labels.image_paths import Paths, split_paths
from gan_cli.image_labels.shard_paths import expand_braces, has_addresses, is_address, is_downloaded
from gan_cli.storage.locate import is_standard_folder


def resolve_data_paths(section: Any, start_folder: Path) -> Any:
    """Returns the data section. Relative paths that exist only in `start_folder` are replaced by those there."""
    for key in ("path", "test_path", "root", "labels", "cache"):
        value = getattr(section, key, None)
        if isinstance(value, tuple):  # several folders
            section = dataclasses.replace(section, **{key: tuple(_resolve(start_folder, each) for each in value)})
        elif value not in (None, NO_CACHE):
            section = dataclasses.replace(section, **{key: _resolve(start_folder, value)})
    return section


def without_untrusted_folders(section: Any, named: Collection[str]) -> Any:
    """Returns the data section of a saved run, which may come from a stranger, without folders that it would write to.

    Nothing is downloaded to a folder that is not inside the current folder or gan-cli's cache. Decoded images are
    cached there, or in an existing folder of this user. Keys in `named` are those of the command and are not changed.
    Raises UsageError if the data would be downloaded from an address, or by a name on the hub, that is not among these.
    """
    allowed = {key for key, keys in ALLOWED_BY.items() if not {*keys}.isdisjoint(named)}
    if "dataset.path" not in allowed and is_downloaded(section.name, getattr(section, "path", None)):
        raise UsageError(
            f"the data of this run are downloaded ({one_line(section.path, 200)}): allow that by naming them, data=..."
        )
    if "dataset.test_path" not in allowed and has_addresses(getattr(section, "test_path", None)):
        section = dataclasses.replace(section, test_path=None)
    downloads = getattr(section, "download", False)
    if downloads and "dataset.root" not in allowed and not is_standard_folder(section.root):
        section = dataclasses.replace(section, download=False)
    cache = getattr(section, "cache", NO_CACHE)
    if "dataset.cache" not in allowed and not (is_standard_folder(cache) or _is_own_folder(os.path.expanduser(cache))):
        section = dataclasses.replace(section, cache=NO_CACHE)
    return section


def _is_own_folder(path: str) -> bool:
    return os.path.isdir(path) and (not hasattr(os, "geteuid") or os.stat(path).st_uid == os.geteuid())


def _resolve(start_folder: Path, value: str) -> str:
    path = Path(value)
    if is_address(value) or path.is_absolute() or path.parts[:1] == ("~",):
        return value
    there = start_folder / path
    if not there.exists() and "*" in value:  # the folder itself is no pattern
        there = Path(glob.escape(str(start_folder))) / path
    return str(there) if _exists(there) and not _exists(path) else value


def _exists(path: Path) -> bool:
    """Returns whether a path exists, or the first file that a pattern of shards stands for."""
    if path.exists():
        return True
    if path.parent.is_file():
        return False
    first = expand_braces(str(path))[0] if "{" in str(path) else str(path)
    return os.path.exists(first) or ("*" in first and any(True for _ in glob.iglob(first)))


def absolute_paths(path: str, dataset: str) -> Paths:
    """Returns the absolute path that `data=` names, or a tuple of paths if it names several, such as `[a,b]`.

    From what the data set of the name `dataset` downloads, an address or a name on the hub, nothing is changed.
    """
    named = split_paths(path)
    paths = tuple(each if is_downloaded(dataset, each) else os.path.abspath(os.path.expanduser(each)) for each in named)
    return paths if len(paths) > 1 else paths[0]


def relocate_data(section: Any, path: Paths) -> Any:
    """Returns the data section with `path` as that of its files. Raises UsageError if the data are synthetic."""
    for key in ("path", "root"):
        if hasattr(section, key):
            paths = split_paths(path)
            return dataclasses.replace(section, **{key: paths if key == "path" and len(paths) > 1 else path})
    raise UsageError(f"data={path}: dataset={section.name} is synthetic, leave it out")
