"""Finds option files in the folders of gan-cli, of the user and of enabled plugins, in this order.

Remembers which files of the user's and the plugins' folders a command has read. Imports no Hydra.
"""

from __future__ import annotations

import os
import posixpath
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from gan_cli.config.plugin import ENABLED
from gan_cli.errors import UsageError, one_line

EXPERIMENTS = "experiment"
MAX_EXPERIMENT_DEPTH = 3  # levels of folders below `experiment/`
MOST_ENTRIES = 10_000  # of a group's folder; it may be a link to a large one
CURRENT_CONFIGS = "configs"  # used if the current folder contains a folder of this name
_explicit: list[Path] = []  # the folder of --config-dir, for this process
_used: dict[tuple[str, str], None] = {}  # (folder, file) read by this command
_quiet: list[bool] = []  # not empty while notices are off


@cache
def config_folder() -> Path:
    """Returns the folder of gan-cli's own options: `configs/` in the package, or in the checkout."""
    package = Path(__file__).resolve().parent.parent
    shipped = package / "configs"
    return shipped if shipped.is_dir() else package.parent / "configs"


def set_explicit_folder(folder: str | None) -> None:
    """Sets the folder of `--config-dir`; None means no such folder. Raises UsageError if `folder` is no folder."""
    _explicit.clear()
    if folder is not None:
        path = Path(os.path.expanduser(folder))
        if not folder or not os.path.isdir(path):
            what = "is a file" if os.path.isfile(path) else "no such folder"
            typed = f"--config-dir {one_line(folder, 200)}: {what}" if folder else "--config-dir: names no folder"
            raise UsageError(f"{typed}; write --config-dir DIR, of a folder with groups, as DIR/experiment/mine.yaml")
        _explicit.append(path.resolve())


def explicit_config_folder() -> Path | None:
    """Returns the folder of `--config-dir`; None if this flag was not given."""
    return _explicit[0] if _explicit else None


def user_config_folders() -> list[Path]:
    """Returns the folders of `--config-dir`, of `configs/` in the current folder and of plugins, if they exist."""
    plugins = [Path(plugin.configs).resolve() for plugin in ENABLED.values()]
    folders = [*_explicit, Path(CURRENT_CONFIGS).resolve(), *plugins]
    return [path for path in dict.fromkeys(folders) if path.is_dir() and path != config_folder().resolve()]


def find_option_files(group: str, option: str) -> list[Path]:
    """Returns the files of an option in all folders. The first of these files is used."""
    candidates = [folder / group / f"{option}.yaml" for folder in (config_folder(), *user_config_folders())]
    return [path for path in candidates if os.path.isfile(path)]  # false for a name that is too long


def options_of_groups() -> dict[str, list[str]]:
    """Returns all groups, each with its options: those of gan-cli, of the user's folders and of plugins.

    The folders of gan-cli say which groups exist, without Hydra's own groups, to which the user's files add nothing.
    Other parts of the user's folders, which may be large, are not read.
    """
    ours = config_folder()
    groups = {group_of(path.relative_to(ours).as_posix()) for path in ours.rglob("*.yaml")}
    found: dict[str, list[str]] = {group: [] for group in sorted(groups) if group and not group.startswith("hydra/")}
    for folders in ([ours], user_config_folders()):
        for group, option in sorted({pair for folder in folders for pair in _list_options(folder, found)}):
            if option not in found[group]:
                found[group].append(option)
    return found


def _list_options(folder: Path, groups: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yields (group, option) for each file of these groups: `experiment/a/b.yaml` is (`experiment`, `a/b`)."""
    for group in groups:
        depth = MAX_EXPERIMENT_DEPTH if group == EXPERIMENTS else 0
        seen = 0
        for where, folders, files in os.walk(folder / group):  # follows no links, and skips what cannot be read
            below = Path(where).relative_to(folder / group)
            seen += len(folders) + len(files)
            if len(below.parts) >= depth or seen > MOST_ENTRIES:
                folders.clear()
            for name in files:
                if name.endswith(".yaml"):
                    yield group, (below / name).with_suffix("").as_posix()


# --- files that were read ----------------------------------------------------------------------------------------


def note_used(folder: str, name: str) -> None:
    """Remembers that a file of this folder was read."""
    _used[folder, name] = None


def forget_used_files() -> None:
    """Forgets which files were read and warned about. Called when a new command begins."""
    _used.clear()
    warn_hidden.cache_clear()


@contextmanager
def without_notices() -> Iterator[None]:
    """While entered, prints no notices about these folders: in shell completion, and in the jobs of a sweep."""
    _quiet.append(True)
    try:
        yield
    finally:
        _quiet.pop()


def used_files() -> list[tuple[Path, str]]:
    """Returns the files of these folders that the command has read, with their groups, the last first."""
    return [(Path(folder) / name, group_of(name)) for folder, name in reversed(_used)]


def files_used_from(folder: Path) -> list[str]:
    """Returns the names of the files read from this folder; none if it is `--config-dir`, or while notices are off."""
    return [] if _quiet or folder in _explicit else [name for where, name in _used if where == str(folder)]


def group_of(name: str) -> str:
    """Returns the group of an option's file, by the file's path in its folder."""
    group = posixpath.dirname(name)
    return EXPERIMENTS if group.split("/")[0] == EXPERIMENTS else group


@cache
def warn_hidden(folder: str, name: str) -> None:
    """Warns once per command about an ignored file. No error, because another Hydra project may own the folder."""
    if not _quiet:
        where = one_line(Path(folder) / name, 300)
        print(f"warning: {where} is not used: Hydra's own options come from installed packages", file=sys.stderr)
