"""Merges the files of `configs/` to the values of a command line that only chooses options, or has no arguments.

The values are those that Hydra composes. `--help` needs them for each option, which would take Hydra seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from gan_cli.config.search_path import find_option_files, user_config_folders
from gan_cli.config.train_config import flatten
from gan_cli.storage.yaml_files import read_option_file

Values = dict[str, Any]


def default_values(command: str, *options: str) -> Values:
    """Returns the values of `gan-<command>` with options such as `dataset=folder` by dotted key, without a recipe."""
    chosen, folders = dict(option.split("=") for option in options), tuple(user_config_folders())
    overrides, before = Values(), None
    while overrides != before:  # an experiment may choose a loss, which chooses a penalty, which chooses an optimizer
        before, values = overrides, Values()
        overrides = Values()
        for own, more in _merged_files("", command, "", before | chosen, folders):
            values |= own
            overrides |= more
    references = {key: value[2:-1] for key, value in values.items() if isinstance(value, str) and value[:2] == "${"}
    return values | {key: values[other] for key, other in references.items() if other in values}


def _merged_files(
    group: str, option: str, section: str, chosen: Mapping[str, Any], folders: tuple[Path, ...]
) -> Iterator[tuple[Values, Values]]:
    """Yields, in Hydra's order, the values of an option's file and of the files in its `defaults`, by dotted key.

    With them it yields the options that the entries `override /group: option` choose. `chosen` has an option, or a
    list of options, for groups whose entries are not followed.
    """
    entries, own = _read(group, option, section, folders)
    for entry in entries:
        if entry == "_self_":
            yield own, {}
        elif isinstance(entry, str):  # a file whose content this one takes over, as `r1` or `generator/adam@_here_`
            base, _, name = f"{'' if entry[0] == '/' else group}/{entry.partition('@')[0]}".rpartition("/")
            yield from _merged_files(base.lstrip("/"), name, section, chosen, folders)
        for key, value in entry.items() if isinstance(entry, dict) else ():
            if key.startswith("override "):
                yield {}, {key.removeprefix("override /"): value}
                continue
            inner = f"{group}/{key}".strip("/")
            named = chosen.get(inner, value)
            for each in named if isinstance(named, list) else filter(None, [named]):
                yield from _merged_files(inner, each, inner.replace("/", "."), chosen, folders)


@lru_cache(maxsize=512)
def _read(group: str, option: str, section: str, folders: tuple[Path, ...]) -> tuple[list[Any], Values]:
    """Returns the `defaults` of an option's file, which include `_self_`, and its values by dotted key.

    The result is cached. `folders`, the option folders of the user and of plugins, only distinguish cache entries.
    """
    files = find_option_files(group, option)  # none if a plugin lacks one
    package, content = read_option_file(files[0]) if files else ("", {})
    own = {key: value for key, value in content.items() if key not in ("defaults", "hydra")}
    entries, values = content.get("defaults", []), dict(flatten(own, "" if package == "_global_" else section))
    return entries if "_self_" in entries else [*entries, "_self_"], values
