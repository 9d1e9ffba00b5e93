"""Writes files and folders so that a reader sees either the old or the new one, never a part of it.

A file is written in a hidden temporary folder with a random name, which its process locks. The next command that
writes to the same place removes the temporary folders that no process has locked: those of killed commands.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gan_cli.storage import locks

PREFIX = ".gan-cli-"
NAME = re.compile(rf"\{PREFIX}[a-z0-9_]{{8}}")  # as mkdtemp makes it; files of the user must never match


@contextlib.contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Yields a new locked folder in `parent`, and removes it at the end. Also removes those of killed commands."""
    remove_unlocked(parent)
    folder, handle = _create_locked(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def _create_locked(parent: Path) -> tuple[Path, int | None]:
    """Returns a new folder and the descriptor that locks it; None on a system without file locks."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        if locks.fcntl is None:
            return folder, None
        with contextlib.suppress(FileNotFoundError):  # another process removed it before it was locked
            handle = locks.lock_folder(folder, wait=True)  # another process may be removing it
            if folder.exists():
                return folder, handle
            os.close(handle)


def remove_unlocked(parent: Path) -> None:
    """Removes the temporary folders in `parent` that this user made and whose process has ended. Follows no links."""
    if locks.fcntl is None:
        return
    for folder in filter(lambda path: NAME.fullmatch(path.name), parent.glob(f"{PREFIX}*")):
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                locks.lock_file(handle)
                if os.fstat(handle).st_uid == os.geteuid():
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write a file or folder to. At the end, it replaces `path`.

    A file is on the disk before it has its name, and the name before this returns, so that it survives a power cut.
    """
    try:
        with temporary_folder(path.parent) as folder:
            part = folder / path.name
            yield part
            if part.is_file():
                sync(part)
            os.replace(part, path)
            sync(path.parent)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, named_file(error, path)) from error


def named_file(error: OSError, path: Path) -> str:
    """Returns the file that an error names; `path` if it names none, or a temporary one, which is gone afterwards."""
    name = os.fsdecode(error.filename or "")
    return str(path) if not name or f"{os.sep}{PREFIX}" in name else name


def write_bytes(path: Path, content: bytes | bytearray) -> None:
    """Writes a file so that readers never see a part of it, even after a power cut."""
    with replacing(path) as part:
        part.write_bytes(content)


@contextlib.contextmanager
def create_folder_or_undo(folder: Path) -> Iterator[None]:
    """Creates `folder` and its parents. If the `with` block raises an error, removes those of them that are empty."""
    created = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        remove_empty(*created)
        raise


def remove_empty(*folders: Path) -> None:
    """Removes these folders, in this order, without those that are missing or hold anything."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def claim(part: Path, path: Path) -> None:
    """Gives a complete file or folder its final name. Raises FileExistsError if the name is in use, even just now.

    A file is on the disk before.
    """
    if part.is_dir():
        path.mkdir()  # fails if another command has the name; an empty folder can be replaced
        _replace_empty(part, path)
        return
    sync(part)
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # no hard links here
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        _replace_empty(part, path)


def _replace_empty(part: Path, path: Path) -> None:
    """Replaces the empty file or folder that holds the name; removes it if that fails."""
    try:
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            path.rmdir() if part.is_dir() else path.unlink()
        raise
