"""A run's own files and folders are no links: what is written to one that came from a stranger would go elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from gan_cli.errors import StorageError

NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)  # POSIX


class LinkError(StorageError):
    """A file or folder of a run is a link."""


def refuse_link(path: Path) -> Path:
    """The path; LinkError if it is a link, wherever that leads."""
    if path.is_symlink():
        raise LinkError(f"{path}: is a link, which nothing is written through; put what it leads to in its place")
    return path


def open_own(path: Path, mode: str) -> IO[str]:
    """Opens a text file of a run's that is written in place; LinkError if it is a link."""
    try:
        return open(refuse_link(path), mode, encoding="utf-8", errors="backslashreplace", opener=_open_itself)
    except OSError:
        refuse_link(path)  # it has become one
        raise


def _open_itself(name: str, flags: int) -> int:
    return os.open(name, flags | NO_FOLLOW, 0o666)


def without_link(path: Path) -> Path:
    """The path of a file that is about to be written, where a link of this name is gone."""
    if path.is_symlink():
        path.unlink(missing_ok=True)
    return path
