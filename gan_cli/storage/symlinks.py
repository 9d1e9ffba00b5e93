"""Refuses symbolic links in a run's folder.

If the folder came from someone else, writing through a link in it could overwrite a file at another place.
"""

from __future__ import annotations

from pathlib import Path

from gan_cli.errors import StorageError


class UnsafeFileError(StorageError):
    """A file or folder of a run is a link, or no regular file, so that nothing is written to it."""


def refuse_symlink(path: Path) -> Path:
    """Returns the path unchanged. Raises UnsafeFileError if the path is a symbolic link, whatever its target."""
    if path.is_symlink():
        raise UnsafeFileError(f"{path}: is a link, which nothing is written through; replace it by what it points to")
    return path


def remove_symlink(path: Path) -> Path:
    """Removes a symbolic link at `path`, if there is one. Returns the path, so that a file can be written there."""
    if path.is_symlink():
        path.unlink(missing_ok=True)
    return path
