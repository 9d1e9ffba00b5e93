"""Data that are not where a config says: looked for from where the run was started, or where the user says."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from gan_cli.data.folder import NO_CACHE
from gan_cli.errors import UsageError
from gan_cli.image_labels.several import Paths, paths_of


def reachable(section: Any, started_in: Path) -> Any:
    """The data section with a relative path taken from where the run was started, if it is not found from here."""
    for key in ("path", "root", "labels", "cache"):
        value = getattr(section, key, None)
        if isinstance(value, tuple):  # several folders
            section = dataclasses.replace(section, **{key: tuple(_from(started_in, each) for each in value)})
        elif value not in (None, NO_CACHE):
            section = dataclasses.replace(section, **{key: _from(started_in, value)})
    return section


def _from(started_in: Path, value: str) -> str:
    path = Path(value)
    there = not path.is_absolute() and path.parts[:1] != ("~",) and (started_in / path).exists()
    return str(started_in / path) if there and not path.exists() else value


def absolute(place: str) -> Paths:
    """What `data=` names, which may be a list, from wherever it is looked at."""
    paths = tuple(os.path.abspath(os.path.expanduser(path)) for path in paths_of(place))
    return paths if len(paths) > 1 else paths[0]


def moved(section: Any, place: Paths) -> Any:
    """The data section with its pictures or files at `place`; UsageError for data that are drawn."""
    for key in ("path", "root"):
        if hasattr(section, key):
            paths = paths_of(place)
            return dataclasses.replace(section, **{key: paths if key == "path" and len(paths) > 1 else place})
    raise UsageError(f"data={place}: dataset={section.name} is drawn, leave it out")
