"""The folders with option files: those of gan-cli, then the user's, then those of enabled plugins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from gan_cli.config.plugin import ENABLED
from gan_cli.errors import UsageError

EXPERIMENTS = "experiment"
MAX_EXPERIMENT_DEPTH = 3  # folders within each other below `experiment/`
CURRENT_CONFIGS = "configs"  # used if the current folder contains a folder of this name
_explicit: list[Path] = []  # the folder of --config-dir, for this process


def config_folder() -> Path:
    """The folder of gan-cli's own options: `configs/` in the package, or in the checkout."""
    package = Path(__file__).resolve().parent.parent
    shipped = package / "configs"
    return shipped if shipped.is_dir() else package.parent / "configs"


def set_explicit_folder(folder: str | None) -> None:
    """Sets the folder of `--config-dir`, None for none. Raises UsageError if it is no folder."""
    _explicit.clear()
    if folder is not None:
        path = Path(folder).expanduser()
        if not folder or not path.is_dir():
            raise UsageError(f"--config-dir {folder}: no such folder; it holds groups, as experiment/mine.yaml in it")
        _explicit.append(path.resolve())


def explicit_config_folder() -> Path | None:
    """The folder of `--config-dir`, None if it was not given."""
    return _explicit[0] if _explicit else None


def current_folder() -> Path | None:
    """`configs/` in the current folder if options are read from it without `--config-dir`, else None."""
    folder = Path(CURRENT_CONFIGS).resolve()
    return folder if folder in user_config_folders() and folder not in _explicit else None


def user_config_folders() -> list[Path]:
    """The folders of options other than gan-cli's own: `--config-dir`, `configs/` in the current folder, plugins'."""
    folders = [
        *_explicit,
        Path(CURRENT_CONFIGS).resolve(),
        *(Path(plugin.configs).resolve() for plugin in ENABLED.values()),
    ]
    return [path for path in dict.fromkeys(folders) if path.is_dir() and path != config_folder().resolve()]


def find_option_files(group: str, option: str) -> list[Path]:
    """The files of an option in all folders; the first is the one that is used."""
    candidates = [folder / group / f"{option}.yaml" for folder in (config_folder(), *user_config_folders())]
    return [path for path in candidates if path.is_file()]


def list_group_options(folder: Path, groups: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(group, option) of the files of these groups. Other parts of the folder are not read: it may be very large."""
    for group in groups:
        depth = MAX_EXPERIMENT_DEPTH if group == EXPERIMENTS else 0
        for pattern in ("*/" * count + "*.yaml" for count in range(depth + 1)):
            for path in (folder / group).glob(pattern):
                yield group, path.relative_to(folder / group).with_suffix("").as_posix()


def list_options(folder: Path) -> Iterator[tuple[str, str]]:
    """(group, option) of every YAML file in the sub-folders of a folder of options.

    An experiment in a sub-folder of `experiment/` is `folder/name`.
    """
    for path in sorted(folder.rglob("*.yaml")):
        parts = path.relative_to(folder).with_suffix("").parts
        if len(parts) > 1:
            depth = 1 if parts[0] == EXPERIMENTS else len(parts) - 1
            yield "/".join(parts[:depth]), "/".join(parts[depth:])
