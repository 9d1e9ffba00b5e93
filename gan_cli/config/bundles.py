"""Recipes and experiments: options that choose and set what belongs to other groups."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from gan_cli.config import recipes
from gan_cli.config.overrides import read_override
from gan_cli.config.search_path import option_files

BUNDLES = (recipes.GROUP, "experiment")


def sections(keys: Iterable[str]) -> set[str]:
    """The first parts of dotted keys and groups."""
    return {re.split(r"[./]", key)[0] for key in keys}


def sections_of(group: str, option: str) -> set[str]:
    """The sections in which a recipe or an experiment, or one that it builds on, sets or chooses anything."""
    content = _content(group, option)
    bases = [entry for entry in content.pop("defaults", []) if isinstance(entry, str) and entry != "_self_"]
    found = sections([*content, *(choice.key_or_group for choice in choices_of(group, option))])
    return found.union(*(sections_of(group, base) for base in bases if option_files(group, base)))


def choices_in(override: Override, *, of_any: bool = False) -> list[Override]:
    """The options that a chosen recipe or experiment chooses in turn; if `of_any`, what an option of any group does."""
    group = override.key_or_group
    taken = options_in(override) if of_any or group in BUNDLES else []
    return [choice for option in taken for choice in choices_of(group, option)]


def options_in(override: Override) -> list[str]:
    """The options that an override chooses; none if it sets a key."""
    value = override.value()
    chosen = map(str, value if isinstance(value, list) else [value])
    return [option for option in chosen if option_files(override.key_or_group, option)]


def recipe_in(group: str, option: str) -> str | None:
    """The recipe that an option's file asks for, by `override /recipe:` or by a plain key; None if by neither."""
    found, content = None, _content(group, option)
    for entry in content.get("defaults", []):
        if isinstance(entry, str) and entry != "_self_" and option_files(group, entry):
            found = recipe_in(group, entry) or found
        elif isinstance(entry, dict):
            found = entry.get(f"override /{recipes.GROUP}", found)
    found = content.get(recipes.GROUP, found)
    return None if found is None else str(found)


def choices_of(group: str, option: str) -> list[Override]:
    """The options that a recipe or an experiment chooses, as overrides."""
    defaults = _content(group, option).get("defaults", [])
    chosen: dict[str, Override] = {}
    for entry in defaults:
        if isinstance(entry, str) and entry != "_self_" and option_files(group, entry):
            chosen |= {override.key_or_group: override for override in choices_of(group, entry)}  # it builds on that
        for key, value in entry.items() if isinstance(entry, dict) else ():
            other = str(key).removeprefix("override /")
            if other != key and not isinstance(value, dict):  # which Hydra refuses
                text = f"[{','.join(value)}]" if isinstance(value, list) else value
                chosen[other] = read_override(f"{other}={text}")
    return list(chosen.values())


def named_beside(bundle: Override, overrides: Sequence[Override]) -> set[str]:
    """The keys and groups that are set or chosen beside a bundle; for a recipe, by any option's file too.

    An option may choose another, whose file chooses a third: an experiment a loss, which brings a penalty.
    """
    rest = [override for override in overrides if override is not bundle]
    of_any = bundle.key_or_group == recipes.GROUP
    found = {override.key_or_group for override in rest}
    seen, open_ = set[str | None](), [*rest]
    while open_:
        for choice in choices_in(open_.pop(), of_any=of_any):
            found.add(choice.key_or_group)
            if choice.input_line not in seen:  # which may bring others of its own
                seen.add(choice.input_line)
                open_.append(choice)
    return found


def kept_choices(bundle: Override, overrides: Sequence[Override]) -> list[Override]:
    """The options that a bundle chooses, and that nothing stronger chooses too: an experiment's are over a recipe's."""
    stronger = [override for override in overrides if override.key_or_group != recipes.GROUP]
    named = {*BUNDLES} | named_beside(bundle, stronger)
    return [choice for choice in choices_in(bundle) if choice.key_or_group not in named]


def without_recipe(overrides: Sequence[Override]) -> list[Override]:
    """The overrides with `recipe=none`, unless they choose one: an experiment may ask for one, too."""
    chosen = any(override.key_or_group == recipes.GROUP for override in overrides)
    return [*overrides] if chosen else [*overrides, chosen_recipe(recipes.NONE)]


def chosen_recipe(recipe: str) -> Override:
    return read_override(f"{recipes.GROUP}={recipe}")


def _content(group: str, option: str) -> dict[str, Any]:
    """The keys of an option's file; its defaults are a list, as what is none is refused when Hydra composes."""
    file = OmegaConf.load(option_files(group, option)[0])
    content: Any = OmegaConf.to_container(file) if isinstance(file, DictConfig) else {}
    if not isinstance(content.get("defaults", []), list):
        del content["defaults"]
    return content
