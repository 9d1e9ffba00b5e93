"""Makes a folder of the user's or a plugin's options a config source of Hydra, without files of Hydra's own groups.

Hydra runs the code that an option of its own groups (sweepers, launchers and others) names in `_target_`. Therefore
only installed packages define these options.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult

from gan_cli.config.option_files import check_option_file, sets_key
from gan_cli.config.search_path import EXPERIMENTS, options_of_groups
from gan_cli.errors import UsageError, one_line

_used: dict[tuple[str, str], None] = {}  # (folder, file) read by this command
_hidden: set[tuple[str, str]] = set()  # (folder, file) that a warning was printed for
_quiet: list[bool] = []  # not empty while notices are off


class UserConfigSource(FileConfigSource):
    """A config source that hides Hydra's own groups, checks the files that it reads, and records them."""

    @staticmethod
    def scheme() -> str:
        return "gan-cli"

    def load_config(self, config_path: str) -> ConfigResult:
        name = self._normalize_file_name(config_path)
        check_option_file(Path(self.path) / name, _group_of(name))
        _used[self.path, name] = None
        return super().load_config(config_path)

    def is_group(self, config_path: str) -> bool:
        return not _is_hydras(config_path) and super().is_group(config_path)

    def is_config(self, config_path: str) -> bool:
        found = super().is_config(config_path)
        if found and _is_hydras(config_path):
            _warn_hidden(self.path, self._normalize_file_name(config_path))
            return False
        return found

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        return [] if _is_hydras(config_path) else super().list(config_path, results_filter)


def search_path_entry(folder: Path) -> str:
    """Registers the config source, and returns the folder as an entry of Hydra's search path."""
    SourcesRegistry.instance().register(UserConfigSource)
    return f"{UserConfigSource.scheme()}://{folder}"


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
        typed = {*named} - {group.replace("/", ".") for group in options_of_groups()}
        if key and not any(key == each or key.startswith(f"{each}.") for each in typed):
            for folder, name in reversed(_used):
                if sets_key(path := Path(folder) / name, _group_of(name), key):
                    raise UsageError(f"{path}: {error}") from error
        raise


def files_used_from(folder: Path | None) -> list[str]:
    """Returns the names of the files that were read from this folder; an empty list while notices are off."""
    return [] if _quiet else [name for where, name in _used if where == str(folder)]


def _is_hydras(config_path: str) -> bool:
    """Returns whether a file or group belongs to Hydra's own groups, or lies outside of the folder."""
    parts = posixpath.normpath(config_path.lstrip("/")).removesuffix(".yaml").lower().split("/")
    return "hydra" in parts or parts[0] == ".."


def _group_of(name: str) -> str:
    """Returns the group of an option's file, by the file's path in its folder."""
    group = posixpath.dirname(name)
    return EXPERIMENTS if group.split("/")[0] == EXPERIMENTS else group


def _warn_hidden(folder: str, name: str) -> None:
    """Warns once per command about an ignored file. No error, because another Hydra project may own the folder."""
    if not _quiet and (folder, name) not in _hidden:
        _hidden.add((folder, name))
        where = one_line(Path(folder) / name, 300)
        print(f"warning: {where} is not used: Hydra's own options come from installed packages", file=sys.stderr)
