"""Finds what bundles imply: recipes and experiments, whose files set keys of many sections and choose options.

In its `defaults` list, such a file may name base files, files of its own group whose content it takes over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Override

from gan_cli.config import recipes
from gan_cli.config.overrides import read_override
from gan_cli.config.search_path import find_option_files
from gan_cli.storage.yaml_files import read_option_file

BUNDLES = (recipes.GROUP, "experiment")


def sections(keys: Iterable[str]) -> set[str]:
    """Returns the first part of each dotted key or group, for example `training` for `training.pack`."""
    return {re.split(r"[./]", key)[0] for key in keys}


def sections_set_by(group: str, option: str) -> set[str]:
    """Returns the top-level sections in which a bundle's file, or a base file, sets a key or chooses an option."""
    keys = [key for content in _contents(group, option) for key in (*content, *_overridden(content))]
    return sections(keys) - {"defaults"}


def choices_in(override: Override, *, of_any: bool = False) -> list[Override]:
    """Returns, as overrides, the options that the file of a chosen bundle, or option if `of_any`, chooses in turn."""
    group = override.key_or_group
    taken = chosen_options(override) if of_any or group in BUNDLES else []
    return [choice for option in taken for choice in choices_of(group, option)]


def chosen_options(override: Override) -> list[str]:
    """Returns the names of the options that an override chooses; an empty list if the override sets a key."""
    value = override.value()
    chosen = map(str, value if isinstance(value, list) else [value])
    return [option for option in chosen if find_option_files(override.key_or_group, option)]


def requested_recipe_of(group: str, option: str) -> str | None:
    """Returns the recipe that an option's file, or a base file, requests; None if there is no request.

    A request is `override /recipe:` in the `defaults` list, or the key `recipe`, which takes precedence.
    """
    found = None
    for content in _contents(group, option):
        found = content.get(recipes.GROUP, _overridden(content).get(recipes.GROUP, found))
    return None if found is None else str(found)


def choices_of(group: str, option: str) -> list[Override]:
    """Returns, as overrides, the options that an option's file and its base files choose."""
    chosen: dict[str, Any] = {}
    for content in _contents(group, option):
        chosen |= _overridden(content)
    texts = {other: f"[{','.join(value)}]" if isinstance(value, list) else value for other, value in chosen.items()}
    return [read_override(f"{other}={text}") for other, text in texts.items()]


def keys_set_elsewhere(bundle: Override, overrides: Sequence[Override]) -> set[str]:
    """Returns the keys and groups that the overrides other than `bundle` set or choose, directly or by option files.

    If `bundle` is a recipe, the files of all chosen options count, otherwise only the files of bundles. Choices are
    followed from file to file: an experiment may choose a loss, whose file may choose a penalty.
    """
    found, visited = set[str](), set[str | None]()
    pending = [override for override in overrides if override is not bundle]
    while pending:
        override = pending.pop()
        found.add(override.key_or_group)
        if override.input_line not in visited:
            visited.add(override.input_line)
            pending += choices_in(override, of_any=bundle.key_or_group == recipes.GROUP)
    return found


def effective_choices(bundle: Override, overrides: Sequence[Override]) -> list[Override]:
    """Returns, as overrides, the options that a bundle chooses and that no override except a recipe replaces."""
    stronger = [override for override in overrides if override.key_or_group != recipes.GROUP]
    named = {*BUNDLES} | keys_set_elsewhere(bundle, stronger)
    return [choice for choice in choices_in(bundle) if choice.key_or_group not in named]


def with_recipe_none(overrides: Sequence[Override]) -> list[Override]:
    """Returns the overrides, with `recipe=none` if they choose no recipe, so that no file's request is followed."""
    chosen = any(override.key_or_group == recipes.GROUP for override in overrides)
    return [*overrides, *([] if chosen else [recipe_override(recipes.NONE)])]


def recipe_override(recipe: str) -> Override:
    """Returns the override that chooses this recipe."""
    return read_override(f"{recipes.GROUP}={recipe}")


def _contents(group: str, option: str) -> Iterator[dict[str, Any]]:
    """Yields the content of each base file of an option's file, then its own. The choice of the option checked them."""
    content = read_option_file(find_option_files(group, option)[0])[1]
    for entry in content.get("defaults", []):
        if isinstance(entry, str) and entry != "_self_" and find_option_files(group, entry):
            yield from _contents(group, entry)
    yield content


def _overridden(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns, by group, the options that the entries `override /group: option` of a file choose."""
    entries = [entry for entry in content.get("defaults", []) if isinstance(entry, dict)]
    pairs = [pair for entry in entries for pair in entry.items()]
    return {key.removeprefix("override /"): value for key, value in pairs if key.startswith("override /")}
