"""argv and `configs/` to plain data, by Hydra; its grammar kept away from paths, its errors said in one line."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from gan_cli.config import hints, recipes, search_path
from gan_cli.config.bundles import (
    BUNDLES,
    chosen_recipe,
    kept_choices,
    named_beside,
    options_in,
    recipe_in,
    sections,
    sections_of,
    without_recipe,
)
from gan_cli.config.commands import GROUPS, SCHEMAS, UNSUPPORTED
from gan_cli.config.composition import brought_along, container, followers, resolve
from gan_cli.config.overrides import OPTIONAL_GROUPS, as_typed, check_override, quote, read_override
from gan_cli.config.own_folder import location
from gan_cli.config.search_path import config_folder, groups_in, option_files, own_folders
from gan_cli.config.train_config import flatten
from gan_cli.errors import UsageError, one_line

HYDRA_KEYS = ("hydra.", "hydra/")


@dataclass(frozen=True)
class Composed:
    """What a command line came to. `named` are the dotted keys the user wrote; `brought` what came along with them.

    `followers` are the keys that have another's value: of `optimizer.lr`, unless set, each network's own. `recipe` is
    the one that was taken, and why; `of_recipe` are the keys of `brought` that it set.
    """

    data: dict[str, Any]
    named: tuple[str, ...]
    brought: dict[str, Any]
    followers: dict[str, list[str]]
    recipe: recipes.Choice = recipes.NO_RECIPE
    of_recipe: tuple[str, ...] = ()


def groups(command: str = "train") -> dict[str, list[str]]:
    """The groups of a command and their options: gan-cli's own, a person's and those of enabled plugins."""
    found: dict[str, list[str]] = {}
    for group, option in groups_in(config_folder()):
        found.setdefault(group, []).append(option)
    own = {pair for folder in own_folders() for pair in search_path.options_in(folder, found)}
    for group, option in sorted(own - {(group, option) for group, options in found.items() for option in options}):
        found[group].append(option)
    return found if command == "train" else {group: found[group] for group in GROUPS.get(command, ())}


def compose_command(command: str, arguments: Sequence[str], recipe: str | None = None) -> Composed:
    """Composes `configs/<command>.yaml` with overrides as Hydra reads them; UsageError names key and value.

    `recipe` is what `recipe=auto` stands for; None chooses it by the data.
    """
    overrides = [read_override(argument) for argument in arguments]
    for override in overrides:
        if override.is_sweep_override():
            raise UsageError(f"{override.input_line}: several values are a sweep, which needs -m")
        if override.key_or_group.startswith(HYDRA_KEYS):
            raise UsageError(f"{override.input_line}: belongs to sweeps (-m); output= and name= say where a run goes")
    return compose_checked(command, overrides, recipe)


def compose_default(command: str) -> dict[str, Any]:
    """What the command without any override comes to."""
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return resolve(_default(command, tuple(own_folders()))[1])


def compose_checked(command: str, overrides: Sequence[Override], recipe: str | None = None) -> Composed:
    """As `compose_command`, of overrides that Hydra has read."""
    options = groups(command)
    for override in overrides:
        check_override(override, options)
    keys = [override.key_or_group for override in overrides]
    for index, override in enumerate(overrides):
        if override.key_or_group in keys[:index]:
            raise UsageError(f"{as_typed(override.input_line or '')}: {override.key_or_group} is given twice")
    if recipes.USED in keys:
        raise UsageError(f"{recipes.USED}: is recorded by a run, not set; choose one by recipe=")
    overrides = [override for override in overrides if not _is_nothing(override)]
    if command != "train":
        return _compose_settled(command, overrides, options)
    return _compose_with_recipe(command, overrides, options, recipe)


def _compose_with_recipe(
    command: str, overrides: Sequence[Override], options: dict[str, list[str]], recipe: str | None
) -> Composed:
    """The composition with the recipe that is asked for, or the one that `recipe=auto` stands for."""
    asked = _asked_recipe(overrides, options)
    others = [override for override in overrides if override.key_or_group != recipes.GROUP]
    bare = composed = _compose_bare(command, asked, others, options)
    if asked == recipes.AUTO:
        choice = recipes.choose(bare.data) if recipe is None else recipes.Choice(recipe, "as the run has it")
    else:
        choice = recipes.fitting(asked, bare.data, options[recipes.GROUP])
    if choice.name != recipes.NONE:
        composed = _compose_settled(command, [*others, chosen_recipe(choice.name)], options)
    data = {**composed.data, recipes.GROUP: asked, recipes.USED: choice.name}
    named = tuple(override.key_or_group.replace("/", ".") for override in overrides)
    dropped = recipes.drop_dependents(data, bare.data, named)
    brought = {key: value for key, value in composed.brought.items() if key not in dropped}
    before, after = dict(flatten(bare.data)), dict(flatten(data))
    of_recipe = tuple(key for key in brought if key not in before or before[key] != after[key])
    return dataclasses.replace(composed, data=data, named=named, brought=brought, recipe=choice, of_recipe=of_recipe)


def _compose_bare(command: str, asked: str, others: Sequence[Override], options: dict[str, list[str]]) -> Composed:
    """The composition without a recipe, and without the keys that only the one that was asked for brings."""
    none = chosen_recipe(recipes.NONE)
    try:
        return _compose_settled(command, [none, *others], options)
    except UsageError:
        if asked in (recipes.AUTO, recipes.NONE):
            raise
        chosen = [override for override in others if override.key_or_group in options]
        return _compose_settled(command, [none, *chosen], options)


def _asked_recipe(overrides: Sequence[Override], options: dict[str, list[str]]) -> str:
    """What was typed, else what a chosen file asks for, the experiment's first; one that asks for none has none."""
    typed = {override.key_or_group: override for override in overrides}
    if recipes.GROUP in typed:
        return str(typed[recipes.GROUP].value())
    for group in sorted(typed.keys() & options.keys(), key=lambda group: group != "experiment"):
        for option in options_in(typed[group]):
            recipe = recipe_in(group, option)
            if recipe is None:
                continue
            try:
                check_override(chosen_recipe(recipe), options)
            except UsageError as error:
                raise UsageError(f"{group}={option}: the recipe that its file asks for: {error}") from error
            return recipe
    return recipes.NONE if "experiment" in typed else recipes.AUTO


def _compose_settled(command: str, overrides: Sequence[Override], options: dict[str, list[str]]) -> Composed:
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        _, default = _default(command, tuple(own_folders()))
        try:
            whole = _settle(command, overrides, options)
        except (HydraException, OmegaConfBaseException) as error:
            _explain(command, overrides, options)
            reason = one_line(str(error).split("Config search path")[0])
            raise UsageError(reason or f"cannot be read: {overrides[-1].input_line}") from error
        except (YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
            own = [path for override in overrides for path in _own_files(override, options)]
            if not own:
                raise
            raise UsageError(f"{own[0]}: cannot be used ({one_line(error, 200)})") from error
    named = tuple(override.key_or_group.replace("/", ".") for override in overrides)
    return Composed(resolve(whole), named, brought_along(default, whole, named), followers(whole))


def _own_files(override: Override, options: dict[str, list[str]]) -> list[Path]:
    """The files that are not gan-cli's among those that an override chooses."""
    value = override.value()
    chosen = value if isinstance(value, list) else [value]
    files = [path for option in chosen for path in option_files(override.key_or_group, str(option))[:1]]
    known = override.key_or_group in options
    return [path for path in files if known and not path.is_relative_to(config_folder())]


def _is_nothing(override: Override) -> bool:
    """`experiment=null`, which is the default and which Hydra takes for no override of it."""
    return override.key_or_group in OPTIONAL_GROUPS and override.value() is None


def _settle(command: str, overrides: Sequence[Override], options: dict[str, list[str]]) -> DictConfig:
    """The composition, in which what a recipe or an experiment set in a part goes if the part itself was replaced.

    `experiment=ring regularizer=none` must not keep a weight that the experiment gave to its penalty, nor
    `experiment=gan2014_mnist architecture=dcgan` the width of its layers.
    """
    whole = _compose(command, overrides)
    _check_files(whole, _default(command, tuple(own_folders()))[0])
    bundles = [override for override in overrides if override.key_or_group in BUNDLES]
    gone = _replaced(command, overrides, bundles, options)
    for section in dict.fromkeys(itertools.chain(*gone.values())):
        without = [bundle for bundle in bundles if section in gone[bundle.key_or_group]]
        choices = [choice for bundle in without for choice in kept_choices(bundle, overrides)]
        rest = [override for override in overrides if override not in without]
        plain = _compose(command, without_recipe([*choices, *rest]))
        OmegaConf.update(whole, section, OmegaConf.select(plain, section), merge=False)
    return _without_hydra(whole)


def _replaced(
    command: str, overrides: Sequence[Override], bundles: Sequence[Override], options: dict[str, list[str]]
) -> dict[str, list[str]]:
    """By bundle, the sections in which what it sets is of no use, as another option was chosen there."""
    typed = [override for override in overrides if override not in bundles]
    choices = [choice for bundle in bundles for choice in kept_choices(bundle, overrides)]
    found: dict[str, list[str]] = {}
    plain: DictConfig | None = None
    for bundle in bundles:
        group = found[bundle.key_or_group] = []
        chosen = sections(named_beside(bundle, overrides) & options.keys())
        if not chosen & sections_of(bundle.key_or_group, str(bundle.value())):
            continue  # no part of it can have been replaced
        plain = plain or _compose(command, without_recipe([*choices, *typed]))
        group += _replaced_sections(_alone(command, bundle), plain)
        if bundle.key_or_group == recipes.GROUP and any(other.key_or_group == "regularizer" for other in typed):
            group.append("regularizer")  # typed, as a name or as a list: as that option has it
    return found


def _check_files(whole: DictConfig, default: DictConfig) -> None:
    """UsageError if a file set a key of Hydra's own, some of which run what they name, or looks outside of configs."""
    for dotted, value in flatten({key: part for key, part in container(whole).items() if key != "hydra"}):
        if isinstance(value, str) and re.search(r"(?<!\\)\$\{[^}]*:", value):
            raise UsageError(f"{dotted}={value}: only keys can be looked up, as ${{seed}}")
    of_any, ours = (container(config.hydra) for config in (whole, default))
    for section in of_any.keys() - {"runtime", "overrides", "searchpath"}:
        theirs, expected = (dict(part.get(section) or {}) for part in (of_any, ours))
        if section == "job":
            theirs["override_dirname"] = expected["override_dirname"] = ""
        if theirs != expected:
            raise UsageError(f"hydra.{section}: no file of options may set it; use the keys that --help lists")


def _replaced_sections(before: DictConfig, after: DictConfig) -> list[str]:
    """The sections for which another option was chosen. Hydra records no choice for a list group: its parts tell."""
    old, new = before.hydra.runtime.choices, after.hydra.runtime.choices
    groups = [group for group in new if not group.startswith("hydra/") and group not in BUNDLES]
    sections = [group.replace("/", ".") for group in groups if old.get(group) != new[group]]
    same_penalties = before.regularizer.keys() == after.regularizer.keys()
    return sections if same_penalties else [*sections, "regularizer"]


def _explain(command: str, overrides: Sequence[Override], options: dict[str, list[str]]) -> None:
    """Raises the UsageError that names the unknown key, if that is why Hydra refused."""
    try:
        chosen = [override for override in overrides if override.key_or_group in options]
        sections = _settle(command, chosen, options)
    except (HydraException, OmegaConfBaseException):
        return  # it is an option's file that is wrong
    leaves = [dotted for dotted, _ in flatten(container(sections)) if not dotted.endswith(".name")]
    for override in overrides:
        if (command, override.key_or_group) in UNSUPPORTED:
            raise UsageError(f"{override.key_or_group}: {UNSUPPORTED[command, override.key_or_group]}")
        reason = hints.for_key(command, override.key_or_group, SCHEMAS[command], leaves, [*options])
        if reason is not None:
            raise UsageError(reason)


def _compose(command: str, overrides: Iterable[Override]) -> DictConfig:
    """As Hydra composes it, with Hydra's own section."""
    lines = [override.input_line or "" for override in overrides]
    return compose(command, overrides=[*searchpath_overrides(), *lines], return_hydra_config=True)


def searchpath_overrides() -> list[str]:
    """What tells Hydra of the folders beside our own, in which it finds options of our groups and none of its own."""
    folders = ",".join(quote(location(folder)) for folder in own_folders())
    return [f"hydra.searchpath=[{folders}]"] if folders else []


@lru_cache(maxsize=4)
def _default(command: str, folders: tuple[Path, ...]) -> tuple[DictConfig, DictConfig]:
    """What a command without overrides comes to, with and without Hydra's section; to be read only.

    `folders` are those beside our own.
    """
    default = _compose(command, [])
    return default, _without_hydra(default)


def _alone(command: str, bundle: Override) -> DictConfig:
    """A bundle without other overrides; to be read only. Composed once, unless a person's files are part of it."""
    alone = without_recipe([bundle])
    if own_folders():
        return _compose(command, alone)
    return _shipped(command, tuple(override.input_line or "" for override in alone))


@lru_cache(maxsize=64)
def _shipped(command: str, lines: tuple[str, ...]) -> DictConfig:
    return _compose(command, list(map(read_override, lines)))


def _without_hydra(config: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
