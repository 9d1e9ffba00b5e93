"""Declares what option files in `configs/` of the current folder may not set, since a stranger may have made them.

Their settings must not have effects outside of the run. The user did not name the folder; files of `--config-dir` may
set these keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gan_cli.config.options.fields import flatten
from gan_cli.errors import UsageError, one_line
from gan_cli.storage.locate import is_standard_folder

REMOTE_LOGGERS = ("wandb", "mlflow")  # may send data to other machines
# Keys of a run that is resumed which have their full effect only if the command names them too.
NAMED_AGAIN = (
    "plugins", "logger", "threads", "output", "dataset.path", "dataset.test_path", "dataset.root", "dataset.download",
    "dataset.cache",
)  # fmt: skip
# Those with an effect outside of the run, and for each the keys by one of which a command allows what the run has.
ALLOWED_BY = {
    "plugins": ("plugins",),
    "dataset.path": ("dataset.path", "data"),
    "dataset.test_path": ("dataset.test_path",),
    "dataset.root": ("dataset.root", "dataset.download", "data"),
    "dataset.cache": ("dataset.cache",),
    "logger": ("logger",),
}
NEEDED = ("plugins", "dataset.path")  # of these: without them, a command ends with an error
# Keys that name other runs, other folders or code, or start processes. Keys of what is only read, such as
# `dataset.path`, are not among them.
TYPED_ONLY = ("output", "plugins", "resume", "data", "on_changed_data", "init_from", "replay", "jobs")
WRITTEN = ("dataset.root", "dataset.cache")  # folders; only standard ones may be set
PACKAGES = ("", "_global_", "_group_")  # with others, the keys of one section could be those of another


def check_untrusted(path: Path, group: str, package: str, content: Mapping[str, Any]) -> None:
    """Raises UsageError if a file sets what only the command line or a folder of `--config-dir` may set.

    `group` is that of the option, `package` is the package in the file's header, `content` its keys and values.
    """
    refused = next(_refused_parts(group, package, content), None)
    if refused is not None:
        raise UsageError(
            f"{path}: {one_line(refused, 100)}: only the command line may set it, or a file of a folder that is named,"
            " as --config-dir configs"
        )


def _refused_parts(group: str, package: str, content: Mapping[str, Any]) -> Iterator[str]:
    if package not in PACKAGES:
        yield f"@package {package}"
    for entry in content.get("defaults", []):
        target = str(next(iter(entry)) if isinstance(entry, dict) else entry).partition("@")[2]
        if target not in ("", "_here_"):
            yield f"defaults: @{target}"
    for key, value in flatten(content, "" if package == "_global_" else group.replace("/", ".")):
        texts = [str(each) for each in (value if isinstance(value, list) else [value])]
        refers = any("${" in text for text in texts)  # to another key, which may be any text
        if (
            (key in TYPED_ONLY and value is not None)
            or (key == "logger" and (refers or {*texts} & {*REMOTE_LOGGERS}))
            or (key in WRITTEN and (refers or not is_standard_folder(texts[0])))
        ):
            yield f"{key}=[{','.join(texts)}]" if isinstance(value, list) else f"{key}={value}"


def words_to_name(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns, for each key of ALLOWED_BY that a command must name to resume a run of this config, what is typed.

    `config` is nested and may be a stranger's: values of other types are not used. A run without such settings has no
    such key. Of the data, these are addresses and names on the hub, and folders elsewhere that are written to.
    """
    from gan_cli.image_labels.image_paths import format_path_list
    from gan_cli.image_labels.shard_paths import has_addresses, is_downloaded

    values = dict(flatten(config))
    texts: dict[str, Any] = {key: values[key] for key in ALLOWED_BY if isinstance(values.get(key), str)}
    for key in ALLOWED_BY:
        if isinstance(values.get(key), list):
            texts[key] = tuple(each for each in values[key] if isinstance(each, str))
    needed = {
        "plugins": bool(texts.get("plugins")),
        "dataset.path": is_downloaded(str(values.get("dataset.name")), texts.get("dataset.path")),
        "dataset.test_path": has_addresses(texts.get("dataset.test_path")),
        "dataset.root": values.get("dataset.download") is True and _is_elsewhere(texts.get("dataset.root")),
        "dataset.cache": _is_elsewhere(texts.get("dataset.cache")),
        "logger": not {*texts.get("logger", ())}.isdisjoint(REMOTE_LOGGERS),
    }
    return {
        key: f"{key}={texts[key] if isinstance(texts[key], str) else format_path_list(texts[key])}"
        for key, is_needed in needed.items()
        if is_needed
    }


def _is_elsewhere(folder: Any) -> bool:
    """Returns whether a folder is none of those to which every run may write; `none` is no folder."""
    return isinstance(folder, str) and not is_standard_folder(folder)
