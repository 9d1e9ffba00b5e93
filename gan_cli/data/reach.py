"""Finds data that are not at the configured path: relative to the start folder of a run, or where `data=` says."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from gan_cli.data.folder import NO_CACHE
from gan_cli.errors import UsageError
from gan_cli.image_labels.several import Paths, paths_of


def reachable(section: Any, started_in: Path) -> Any:
    """Returns the data section with relative paths resolved.

    A path that does not exist here is taken from the folder `started_in`, if it exists there.
    """
    for key in ("path", "root", "labels", "cache"):
        value = getattr(section, key, None)
        if isinstance(value, tuple):  # several folders
            section = dataclasses.replace(section, **{key: tuple(_resolve(started_in, each) for each in value)})
        elif value not in (None, NO_CACHE):
            section = dataclasses.replace(section, **{key: _resolve(started_in, value)})
    return section


def _resolve(started_in: Path, value: str) -> str:
    path = Path(value)
    exists_there = not path.is_absolute() and path.parts[:1] != ("~",) and (started_in / path).exists()
    return str(started_in / path) if exists_there and not path.exists() else value


def absolute(path: str) -> Paths:
    """Returns the path or paths of `data=` (`[a,b]` are two) as absolute paths."""
    paths = tuple(os.path.abspath(os.path.expanduser(each)) for each in paths_of(path))
    return paths if len(paths) > 1 else paths[0]


def moved(section: Any, path: Paths) -> Any:
    """Returns the data section with its images or files at `path`. UsageError for synthetic data."""
    for key in ("path", "root"):
        if hasattr(section, key):
            paths = paths_of(path)
            return dataclasses.replace(section, **{key: paths if key == "path" and len(paths) > 1 else path})
    raise UsageError(f"data={path}: dataset={section.name} is synthetic, leave it out")
