"""Remembers which files of the user's or a plugin's folders this command has read. Imports no Hydra."""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from gan_cli.config.search_path import EXPERIMENTS, options_of_groups
from gan_cli.errors import UsageError, one_line

_used: dict[tuple[str, str], None] = {}  # (folder, file) read by this command
_hidden: set[tuple[str, str]] = set()  # (folder, file) that a warning was printed for
_quiet: list[bool] = []  # not empty while notices are off


def note_used(folder: str, name: str) -> None:
    """Remembers that a file of this folder was read."""
    _used[folder, name] = None


def forget_used_files() -> None:
    """Forgets which files were read and warned about. Called when a new command begins."""
    _used.clear()
    _hidden.clear()


@contextmanager
def without_notices() -> Iterator[None]:
    """While entered, prints no notices about these folders: in shell completion, and in the jobs of a sweep."""
    _quiet.append(True)
    try:
        yield
    finally:
        _quiet.pop()


@contextmanager
def naming_file(named: Collection[str]) -> Iterator[None]:
    """While entered, an error about a key that a file of the user set begins with the path of the file.

    `named` are the keys that the command line sets, for which no file is named.
    """
    try:
        yield
    except UsageError as error:
        match = re.match(r"(?:unknown key )?([\w.]+)(?=[=:, ]|$)", str(error))
        key = match[1] if match else ""
        from gan_cli.config.option_files import sets_key

        typed = {*named} - {group.replace("/", ".") for group in options_of_groups()}
        if key and not any(key == each or key.startswith(f"{each}.") for each in typed):
            for folder, name in reversed(_used):
                if sets_key(path := Path(folder) / name, group_of(name), key):
                    raise UsageError(f"{path}: {error}") from error
        raise


def files_used_from(folder: Path | None) -> list[str]:
    """Returns the names of the files that were read from this folder; an empty list while notices are off."""
    return [] if _quiet else [name for where, name in _used if where == str(folder)]


def group_of(name: str) -> str:
    """Returns the group of an option's file, by the file's path in its folder."""
    group = posixpath.dirname(name)
    return EXPERIMENTS if group.split("/")[0] == EXPERIMENTS else group


def warn_hidden(folder: str, name: str) -> None:
    """Warns once per command about an ignored file. No error, because another Hydra project may own the folder."""
    if not _quiet and (folder, name) not in _hidden:
        _hidden.add((folder, name))
        where = one_line(Path(folder) / name, 300)
        print(f"warning: {where} is not used: Hydra's own options come from installed packages", file=sys.stderr)
