"""Data that are not where a config says: looked for from where the run was started, or where the user says."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from gan_cli.data.folder import NO_CACHE
from gan_cli.errors import UsageError


def reachable(section: Any, started_in: Path) -> Any:
    """The data section with a relative path taken from where the run was started, if it is not found from here."""
    for key in ("path", "root", "labels", "cache"):
        value = getattr(section, key, None)
        path = Path("~" if value in (None, NO_CACHE) else value)
        there = not path.is_absolute() and path.parts[:1] != ("~",) and (started_in / path).exists()
        if there and not path.exists():
            section = dataclasses.replace(section, **{key: str(started_in / path)})
    return section


def moved(section: Any, place: str) -> Any:
    """The data section with its pictures or files at `place`; UsageError for data that are drawn."""
    for key in ("path", "root"):
        if hasattr(section, key):
            return dataclasses.replace(section, **{key: place})
    raise UsageError(f"data={place}: dataset={section.name} is drawn, leave it out")
