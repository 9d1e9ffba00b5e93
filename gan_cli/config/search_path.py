"""Where the files of options are: gan-cli's own, then a person's, then those of enabled plugins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from gan_cli.config.plugin import ENABLED
from gan_cli.errors import UsageError

EXPERIMENTS = "experiment"
EXPERIMENT_FOLDERS = 3  # in which an experiment may lie within each other
HERE = "configs"  # found where a person stands
_named: list[Path] = []  # by --config-dir, for this process


def config_folder() -> Path:
    """The package's `configs/`, or the checkout's when run from one."""
    package = Path(__file__).resolve().parent
    shipped = package / "configs"
    return shipped if shipped.is_dir() else package.parent / "configs"


def use_folder(folder: str | None) -> None:
    """Takes `--config-dir`; None forgets it. UsageError if it is no folder."""
    _named.clear()
    if folder is not None:
        path = Path(folder).expanduser()
        if not folder or not path.is_dir():
            raise UsageError(f"--config-dir {folder}: no such folder; it holds groups, as experiment/mine.yaml in it")
        _named.append(path.resolve())


def named_folder() -> Path | None:
    """What `--config-dir` named."""
    return _named[0] if _named else None


def standing_folder() -> Path | None:
    """`configs/` where we stand, if options are taken from it without its having been named."""
    folder = Path(HERE).resolve()
    return folder if folder in own_folders() and folder not in _named else None


def own_folders() -> list[Path]:
    """All but gan-cli's own: `--config-dir`, `configs/` where we stand, and what enabled plugins brought."""
    folders = [*_named, Path(HERE).resolve(), *(Path(plugin.configs).resolve() for plugin in ENABLED.values())]
    return [path for path in dict.fromkeys(folders) if path.is_dir() and path != config_folder().resolve()]


def option_files(group: str, option: str) -> list[Path]:
    """Every file of that name; the first is the one that is taken."""
    candidates = [folder / group / f"{option}.yaml" for folder in (config_folder(), *own_folders())]
    return [path for path in candidates if path.is_file()]


def options_in(folder: Path, groups: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(group, option) of the files of these groups, and no look at what else the folder holds: it may be vast."""
    for group in groups:
        depth = EXPERIMENT_FOLDERS if group == EXPERIMENTS else 0
        for pattern in ("*/" * count + "*.yaml" for count in range(depth + 1)):
            for path in (folder / group).glob(pattern):
                yield group, path.relative_to(folder / group).with_suffix("").as_posix()


def groups_in(folder: Path) -> Iterator[tuple[str, str]]:
    """(group, option) of every file in a folder of configs; an experiment in a folder of its own is `folder/name`."""
    for path in sorted(folder.rglob("*.yaml")):
        parts = path.relative_to(folder).with_suffix("").parts
        if len(parts) > 1:
            depth = 1 if parts[0] == EXPERIMENTS else len(parts) - 1
            yield "/".join(parts[:depth]), "/".join(parts[depth:])
