"""Config sources of Hydra: the options of gan-cli, and those of a user or a plugin without Hydra's own groups.

Hydra runs the code that an option of its own groups (sweepers, launchers and others) names in `_target_`. Therefore
only installed packages define these options.
"""

from __future__ import annotations

import posixpath
from pathlib import Path

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf

from gan_cli.config.option_files import check_option_file
from gan_cli.config.options.untrusted_files import check_untrusted
from gan_cli.config.search_path import CURRENT_CONFIGS, explicit_config_folder, group_of, note_used, warn_hidden
from gan_cli.storage.yaml_files import read_option_file


class OptionSource(FileConfigSource):
    """A config source that reads YAML in C and each file once. Hydra's reads it in Python at each composition.

    Hydra's also looks for the package in the first 512 characters only.
    """

    def load_config(self, config_path: str) -> ConfigResult:
        package, content = read_option_file(Path(self.path, self._normalize_file_name(config_path)))
        header = {"package": package or None}
        return ConfigResult(self.provider, f"{self.scheme()}://{self.path}", OmegaConf.create(content), header)


class UserConfigSource(OptionSource):
    """A config source that hides Hydra's own groups, checks the files that it reads, and records them."""

    @staticmethod
    def scheme() -> str:
        return "gan-cli"

    def load_config(self, config_path: str) -> ConfigResult:
        name = self._normalize_file_name(config_path)
        path, group = Path(self.path) / name, group_of(name)
        check_option_file(path, group)
        if self.path == str(Path(CURRENT_CONFIGS).resolve()) and self.path != str(explicit_config_folder()):
            check_untrusted(path, group, *read_option_file(path))
        note_used(self.path, name)
        return super().load_config(config_path)

    def is_group(self, config_path: str) -> bool:
        return not _is_hydras(config_path) and super().is_group(config_path)

    def is_config(self, config_path: str) -> bool:
        found = super().is_config(config_path)
        if found and _is_hydras(config_path):
            warn_hidden(self.path, self._normalize_file_name(config_path))
            return False
        return found

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        return [] if _is_hydras(config_path) else super().list(config_path, results_filter)


def search_path_entry(folder: Path) -> str:
    """Registers the config source, and returns the folder as an entry of Hydra's search path."""
    SourcesRegistry.instance().register(UserConfigSource)
    return f"{UserConfigSource.scheme()}://{folder}"


def _is_hydras(config_path: str) -> bool:
    """Returns whether a file or group belongs to Hydra's own groups, or lies outside of the folder."""
    parts = posixpath.normpath(config_path.lstrip("/")).removesuffix(".yaml").lower().split("/")
    return "hydra" in parts or parts[0] == ".."
