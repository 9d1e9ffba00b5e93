"""Refuses symbolic links in a run's folder.

If the folder came from someone else, writing through a link in it could overwrite a file at another place.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from gan_cli.errors import StorageError

NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)  # 0 on systems without this flag


class SymlinkError(StorageError):
    """A file or folder of a run is a symbolic link."""


def refuse_symlink(path: Path) -> Path:
    """Returns the path unchanged. Raises SymlinkError if the path is a symbolic link, whatever its target."""
    if path.is_symlink():
        raise SymlinkError(f"{path}: is a link, which nothing is written through; replace it by what it points to")
    return path


def open_without_symlink(path: Path, mode: str) -> IO[str]:
    """Opens a text file of a run and returns it. Raises SymlinkError if the path is a symbolic link."""
    try:
        return open(refuse_symlink(path), mode, encoding="utf-8", errors="backslashreplace", opener=_open_no_follow)
    except OSError:
        refuse_symlink(path)  # raises if the path became a link after the first check
        raise


def _open_no_follow(name: str, flags: int) -> int:
    return os.open(name, flags | NO_FOLLOW, 0o666)


def remove_symlink(path: Path) -> Path:
    """Removes a symbolic link at `path`, if there is one. Returns the path, so that a file can be written there."""
    if path.is_symlink():
        path.unlink(missing_ok=True)
    return path
