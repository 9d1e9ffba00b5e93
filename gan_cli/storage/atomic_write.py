"""Writes files and folders so that a reader sees either the old or the new one, never a part of it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from gan_cli.storage.symlinks import remove_symlink


def temporary_path(path: Path) -> Path:
    """Returns a hidden path next to `path`, with the same suffix. Each process has its own."""
    return path.with_name(f".tmp-{os.getpid()}-{path.name}")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write a file or folder to. At the end, it replaces `path`; after an error, removes it.

    A symbolic link at the temporary path is removed first, because writing would follow it.
    """
    temporary = remove_symlink(temporary_path(path))
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        with contextlib.suppress(OSError):  # the first error says more
            temporary.unlink(missing_ok=True)
        raise
