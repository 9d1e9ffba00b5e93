"""Makes a folder of the user's or a plugin's options a config source of Hydra, without files of Hydra's own groups.

Hydra runs the code that an option of its own groups (sweepers, launchers and others) names in `_target_`. Therefore
only installed packages define these options. The current folder may have been made by a stranger, and the user did not
name its `configs/`. Therefore a file there sets no key with effects outside of the run.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult

from gan_cli.config.option_files import check_option_file, read_option_file
from gan_cli.config.search_path import CURRENT_CONFIGS, explicit_config_folder, group_of, note_used, warn_hidden
from gan_cli.config.train_config import REMOTE_LOGGERS, flatten
from gan_cli.config.validation import format_value
from gan_cli.errors import UsageError, one_line
from gan_cli.storage.locate import is_usual_place

# Keys that name other runs, other places or code, or start processes. Files in `configs/` of the current folder may
# not set them. `logger` may name trackers that write into the run's folder only; the folders of WRITTEN must be inside
# the current folder or gan-cli's cache. What is only read, such as `dataset.path`, may be anywhere.
TYPED_ONLY = ("output", "plugins", "resume", "data", "on_changed_data", "init_from", "replay", "jobs")
WRITTEN = ("dataset.root", "dataset.cache")
PACKAGES = ("", "_global_", "_group_")


class UserConfigSource(FileConfigSource):
    """A config source that hides Hydra's own groups, checks the files that it reads, and records them."""

    @staticmethod
    def scheme() -> str:
        return "gan-cli"

    def load_config(self, config_path: str) -> ConfigResult:
        name = self._normalize_file_name(config_path)
        path = Path(self.path) / name
        check_option_file(path, group_of(name))
        if path.is_relative_to(Path(CURRENT_CONFIGS).resolve()) and Path(self.path) != explicit_config_folder():
            _check_untrusted(path, group_of(name))
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


def _check_untrusted(path: Path, group: str) -> None:
    """Raises UsageError if a file sets what only the command line or a folder of `--config-dir` may set."""
    package, content = read_option_file(path)
    section = "" if package == "_global_" else group.replace("/", ".")
    refused = next(_refused_parts(package, section, content), None)
    if refused is not None:
        raise UsageError(
            f"{path}: {one_line(refused, 100)}: only the command line may set it, or a file of a folder that is named,"
            f" as --config-dir {CURRENT_CONFIGS}"
        )


def _refused_parts(package: str, section: str, content: Mapping[str, Any]) -> Iterator[str]:
    """Yields what a file in `configs/` of the current folder may not have. `section` receives its keys."""
    if package not in PACKAGES:
        yield f"@package {package}"
    for entry in content.get("defaults", []):
        place = str(next(iter(entry)) if isinstance(entry, dict) else entry).partition("@")[2]
        if place not in ("", "_here_"):  # there, the keys of one section could be those of another
            yield f"defaults: @{place}"
    for key, value in flatten({key: value for key, value in content.items() if key != "defaults"}, section):
        texts = [str(each) for each in (value if isinstance(value, list) else [value])]
        open_text = any("${" in text for text in texts)  # the value of another key, which may be any text
        if (
            (key in TYPED_ONLY and value is not None)
            or (key == "logger" and (open_text or {*texts} & {*REMOTE_LOGGERS}))
            or (key in WRITTEN and (open_text or not is_usual_place(texts[0])))
        ):
            yield f"{key}={format_value(value)}"
