"""Makes a folder of the user's or a plugin's options a config source of Hydra, without files of Hydra's own groups.

Hydra runs the code that an option of its own groups (sweepers, launchers and others) names in `_target_`. Therefore
only installed packages define these options.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf

from gan_cli.errors import UsageError, one_line

RECORDED = "recipe_used"  # a run records this key; users and files must not set it
HYDRAS = re.compile(r"(?<![\w-])hydra(?![\w-])", re.IGNORECASE)  # matches Hydra's name as a part of a path or a package
_used: dict[tuple[str, str], None] = {}  # (folder, file) read by this command
_hidden: set[tuple[str, str]] = set()  # (folder, file) that a warning was printed for
_quiet: list[bool] = []  # not empty while notices are off


class UserConfigSource(FileConfigSource):
    """A config source that hides Hydra's own groups, refuses files that set Hydra's keys, and records files it read."""

    @staticmethod
    def scheme() -> str:
        return "gan-cli"

    def load_config(self, config_path: str) -> ConfigResult:
        found = super().load_config(config_path)
        _refuse_foreign(Path(self.path) / self._normalize_file_name(config_path), found)
        _used[self.path, self._normalize_file_name(config_path)] = None
        return found

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


def files_used_from(folder: Path | None) -> list[str]:
    """Returns the names of the files that were read from this folder; an empty list while notices are off."""
    return [] if _quiet else [name for where, name in _used if where == str(folder)]


def _is_hydras(config_path: str) -> bool:
    """Returns whether a file or group belongs to Hydra's own groups, or lies outside of the folder."""
    parts = posixpath.normpath(config_path.lstrip("/")).removesuffix(".yaml").lower().split("/")
    return "hydra" in parts or parts[0] == ".."


def _warn_hidden(folder: str, name: str) -> None:
    """Warns once per command about an ignored file. No error, because another Hydra project may own the folder."""
    if not _quiet and (folder, name) not in _hidden:
        _hidden.add((folder, name))
        where = one_line(Path(folder) / name, 300)
        print(f"warning: {where} is not used: Hydra's own options come from installed packages", file=sys.stderr)


def _refuse_foreign(path: Path, found: ConfigResult) -> None:
    """Raises UsageError if a file sets `recipe_used`, or a key of Hydra: directly, by its package or its defaults."""
    content: Any = OmegaConf.to_container(found.config, resolve=False) if isinstance(found.config, DictConfig) else {}
    if RECORDED in content:
        raise UsageError(f"{path}: {RECORDED}: is recorded by a run, not set; choose one by recipe:")
    if "hydra" in content:
        key = next(iter(content["hydra"]), "*") if isinstance(content["hydra"], dict) else "*"
        raise UsageError(f"{path}: hydra.{key}: no file of options may set it; use the keys that --help lists")
    named = [found.header.get("package")]
    for entry in content["defaults"] if isinstance(content.get("defaults"), list) else ():
        named += [*entry, *entry.values()] if isinstance(entry, dict) else [entry]
    for name in map(str, named):
        if HYDRAS.search(name):
            raise UsageError(f"{path}: {one_line(name, 100)}: no file of options may choose what belongs to Hydra")
