"""Composes a command line and the files of `configs/` into plain data with Hydra. Each error message is one line."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gan_cli.config import composed_values, recipes, suggestions
from gan_cli.config.commands import SCHEMAS, UNSUPPORTED_KEYS, groups
from gan_cli.config.config_sources import OptionSource, search_path_entry
from gan_cli.config.implied_choices import (
    BUNDLES,
    chosen_options,
    effective_choices,
    keys_set_elsewhere,
    recipe_override,
    requested_recipe_of,
    sections,
    sections_set_by,
    with_recipe_none,
)
from gan_cli.config.option_files import OPTIONAL_GROUPS, naming_file
from gan_cli.config.options.fields import flatten, is_within, walk
from gan_cli.config.overrides import PATH_LIST_KEY, check_override, quote_for_hydra, read_override, unquote_literals
from gan_cli.config.search_path import config_folder, user_config_folders
from gan_cli.config.train_config import LIST_GROUPS
from gan_cli.errors import UsageError, one_line

HYDRA_KEYS = ("hydra.", "hydra/")
# Leaves out options of Hydra's own groups that no composition uses, which takes a tenth less time.
NOT_USED = ("~hydra/help", "~hydra/hydra_help", "~hydra/output", "~hydra/env")


@dataclass(frozen=True)
class Composed:
    """The result of composing the command line of `command`."""

    command: str
    data: dict[str, Any]  # the whole config
    named: tuple[str, ...]  # the dotted keys that the user wrote
    whole: DictConfig  # what Hydra composed
    recipe: recipes.RecipeChoice = recipes.NO_RECIPE
    bare: Mapping[str, Any] = field(default_factory=dict)  # the data without the recipe
    dropped: Sequence[str] = ()  # keys that the recipe set and that were reset

    @cached_property
    def implied(self) -> dict[str, Any]:
        """The keys that the user did not write but that chosen options changed, each with its new value."""
        with own_options():
            default = _default(self.command, tuple(user_config_folders()))[1]
        before = dict(flatten(composed_values.to_container(default)))
        own = (*self.named, *self.dropped, recipes.GROUP)
        return {
            key: value
            for key, value in flatten(composed_values.to_container(self.whole))
            if before.get(key, before) != value and not any(is_within(key, each) for each in own)
        }

    @cached_property
    def interpolations(self) -> dict[str, list[str]]:
        """The keys whose values are `${key}`, by that key: `optimizer.lr` -> [`optimizer.generator.lr`, ...]."""
        found: dict[str, list[str]] = {}
        for dotted, value in flatten(composed_values.to_container(self.whole)):
            if match := re.fullmatch(r"\$\{([\w.]+)\}", str(value)):
                found.setdefault(match[1], []).append(dotted)
        return found

    @cached_property
    def from_recipe(self) -> tuple[str, ...]:
        """The keys of `implied` whose values the recipe set."""
        before, after = dict(flatten(self.bare)), dict(flatten(self.data))
        return tuple(key for key in self.implied if self.bare and before.get(key, before) != after[key])


def compose_command(command: str, arguments: Sequence[str], recipe: str | None = None) -> Composed:
    """Returns `configs/<command>.yaml` composed with the overrides in `arguments`.

    `recipe` is the recipe to use for `recipe=auto`; if it is None, the data decide. Raises UsageError if an override
    is invalid; the message names the key.
    """
    overrides = [read_override(argument) for argument in arguments]
    for override in overrides:
        if override.is_sweep_override():
            hint = suggestions.hint_for_several(command, override.input_line or "", SCHEMAS[command])
            raise UsageError(f"{override.input_line}: {hint}")
        if override.key_or_group.startswith(HYDRA_KEYS):
            raise UsageError(f"{override.input_line}: {suggestions.OF_HYDRA}")
    return compose_overrides(command, overrides, recipe)


def compose_default(command: str) -> dict[str, Any]:
    """Returns the config of a command without any override."""
    with own_options():
        return composed_values.resolve(_default(command, tuple(user_config_folders()))[1])


def compose_overrides(command: str, overrides: Sequence[Override], recipe: str | None = None) -> Composed:
    """Does the same as `compose_command` for overrides that are parsed already."""
    options = groups(command)
    for override in overrides:
        if override.type != OverrideType.CHANGE and _has_unknown_key(command, [override], options):
            with own_options():
                _raise_for_unknown_key(command, [override], options)
        check_override(override, options)
    keys = [override.key_or_group for override in overrides]
    for index, override in enumerate(overrides):
        if override.key_or_group in keys[:index]:
            twice = f"is given twice{'; quote {0..9}, a shell expands it' if keys[index] == PATH_LIST_KEY else ''}"
            raise UsageError(f"{unquote_literals(override.input_line or '')}: {override.key_or_group} {twice}")
    if recipes.USED_KEY in keys:
        raise UsageError(f"{recipes.USED_KEY}: is recorded by a run, not set; choose one by recipe=")
    # `experiment=null` and the like are the default, but Hydra refuses such a null if it is typed.
    overrides = [each for each in overrides if each.key_or_group not in OPTIONAL_GROUPS or each.value() is not None]
    if command != "train":
        return _compose_settled(command, overrides, options)
    return _compose_with_recipe(overrides, options, recipe)


def _compose_with_recipe(overrides: Sequence[Override], options: dict[str, list[str]], recipe: str | None) -> Composed:
    """Returns the composition with the requested recipe, or, for `recipe=auto`, with the recipe that fits the data."""
    requested = _requested_recipe(overrides, options)
    others = [override for override in overrides if override.key_or_group != recipes.GROUP]
    bare = composed = _compose_without_recipe(requested, others, options)
    if requested != recipes.AUTO:
        choice = recipes.recipe_variant(requested, bare.data, options[recipes.GROUP])
    elif recipe is None:
        choice = recipes.choose_recipe(bare.data)
    else:
        choice = recipes.RecipeChoice(recipe, "as the run has it")
    if choice.name != recipes.NONE:
        composed = _compose_settled("train", [*others, recipe_override(choice.name)], options)
    data = {**composed.data, recipes.GROUP: requested, recipes.USED_KEY: choice.name}
    named = tuple(override.key_or_group.replace("/", ".") for override in overrides)
    dropped = [recipes.ADA_TARGET] if recipes.reset_unused_target(data, bare.data, named) else []
    return dataclasses.replace(composed, data=data, named=named, recipe=choice, bare=bare.data, dropped=dropped)


def _compose_without_recipe(requested: str, others: Sequence[Override], options: dict[str, list[str]]) -> Composed:
    """Returns the composition without a recipe. Overrides of keys that only the requested recipe has are left out."""
    none = recipe_override(recipes.NONE)
    try:
        return _compose_settled("train", [none, *others], options)
    except UsageError:
        if requested in (recipes.AUTO, recipes.NONE):
            raise
        chosen = [override for override in others if override.key_or_group in options]
        return _compose_settled("train", [none, *chosen], options)


def _requested_recipe(overrides: Sequence[Override], options: dict[str, list[str]]) -> str:
    """Returns the recipe that the user typed, or else the recipe that the file of a chosen option requests.

    The experiment's file is read first. Without any request, returns "none" with an experiment and "auto" without one.
    """
    typed = {override.key_or_group: override for override in overrides}
    if recipes.GROUP in typed:
        return str(typed[recipes.GROUP].value())
    for group in sorted(typed.keys() & options.keys(), key=lambda group: group != "experiment"):
        for option in chosen_options(typed[group]):
            recipe = requested_recipe_of(group, option)
            if recipe is None:
                continue
            try:
                check_override(recipe_override(recipe), options)
            except UsageError as error:
                raise UsageError(f"{group}={option}: the recipe that its file requests: {error}") from error
            return recipe
    return recipes.NONE if "experiment" in typed else recipes.AUTO


def _compose_settled(command: str, overrides: Sequence[Override], options: dict[str, list[str]]) -> Composed:
    """Returns the composition that `_settle` makes. Raises UsageError if Hydra or YAML reports an error."""
    named = tuple(override.key_or_group.replace("/", ".") for override in overrides)
    with own_options(), naming_file(named):
        if _has_unknown_key(command, overrides, options):
            _raise_for_unknown_key(command, overrides, options)
        try:
            whole = _settle(command, overrides, options)
        except (HydraException, OmegaConfBaseException) as error:
            _raise_for_unknown_key(command, overrides, options)
            reason = one_line(str(error).split("Config search path")[0])
            raise UsageError(reason or f"cannot be read: {overrides[-1].input_line}") from error
        data = composed_values.resolve(whole)
    return Composed(command, data, named, whole)


def _settle(command: str, overrides: Sequence[Override], options: dict[str, list[str]]) -> DictConfig:
    """Returns the composition without keys of a bundle in sections for which another option was chosen.

    A bundle is a recipe or an experiment. `experiment=ring regularizer=none` must not keep the weight that the
    experiment gave to its penalty; `experiment=gan2014_mnist architecture=dcgan` must not keep the MLP's layer width.
    """
    whole = _compose(command, _lines(overrides))
    composed_values.refuse_resolvers(whole)
    folders = tuple(user_config_folders())
    if folders:
        composed_values.refuse_hydra_keys(whole, _default(command, folders)[0])
    bundles = [override for override in overrides if override.key_or_group in BUNDLES]
    replaced = _replaced_sections(command, overrides, bundles, options)
    for section in dict.fromkeys(itertools.chain(*replaced.values())):
        without = [bundle for bundle in bundles if section in replaced[bundle.key_or_group]]
        choices = [choice for bundle in without for choice in effective_choices(bundle, overrides)]
        rest = [override for override in overrides if override not in without]
        plain = _compose(command, _lines(with_recipe_none([*choices, *rest])))
        OmegaConf.update(whole, section, OmegaConf.select(plain, section), merge=False)
    return _without_hydra(whole)


def _replaced_sections(
    command: str, overrides: Sequence[Override], bundles: Sequence[Override], options: dict[str, list[str]]
) -> dict[str, list[str]]:
    """Returns, for each bundle, the sections in which its keys no longer apply, as another option was chosen."""
    typed = [override for override in overrides if override not in bundles]
    choices = [choice for bundle in bundles for choice in effective_choices(bundle, overrides)]
    found: dict[str, list[str]] = {}
    plain: DictConfig | None = None
    for bundle in bundles:
        group = found[bundle.key_or_group] = []
        chosen = sections(keys_set_elsewhere(bundle, overrides) & options.keys())
        if not chosen & sections_set_by(bundle.key_or_group, str(bundle.value())):
            continue  # no other option was chosen in the sections that the bundle sets
        plain = plain or _compose(command, _lines(with_recipe_none([*choices, *typed])))
        group += _sections_with_other_option(_compose_alone(command, bundle), plain)
        if bundle.key_or_group == recipes.GROUP and any(other.key_or_group == "regularizer" for other in typed):
            group.append("regularizer")  # a typed penalty keeps its own settings
    return found


def _sections_with_other_option(before: DictConfig, after: DictConfig) -> list[str]:
    """Returns the sections whose option differs. For LIST_GROUPS Hydra records no option: their keys are compared."""
    old, new = before.hydra.runtime.choices, after.hydra.runtime.choices
    compared = [group for group in new if not group.startswith("hydra/") and group not in BUNDLES]
    differing = [group.replace("/", ".") for group in compared if old.get(group) != new[group]]
    return [*differing, *(group for group in LIST_GROUPS if before[group].keys() != after[group].keys())]


def _has_unknown_key(command: str, overrides: Sequence[Override], options: dict[str, list[str]]) -> bool:
    """Returns whether an override sets a key that no option has, which Hydra would tell only after composing all."""
    known = [*options, *(dotted for dotted, _, _ in walk(SCHEMAS[command]))]
    return any(not any(is_within(each, override.key_or_group) for each in known) for override in overrides)


def _raise_for_unknown_key(command: str, overrides: Sequence[Override], options: dict[str, list[str]]) -> None:
    """Raises UsageError if one of the overrides, which Hydra refused, sets an unknown key."""
    try:
        chosen = [override for override in overrides if override.key_or_group in options]
        data = composed_values.to_container(_settle(command, chosen, options))
    except (HydraException, OmegaConfBaseException):
        return  # the file of a chosen option is wrong, not a key
    leaves = [dotted for dotted, _ in flatten(data) if not dotted.endswith(".name")]
    for override in overrides:
        if (command, override.key_or_group) in UNSUPPORTED_KEYS:
            raise UsageError(f"{override.key_or_group}: {UNSUPPORTED_KEYS[command, override.key_or_group]}")
        reason = suggestions.hint_for_key(command, override.key_or_group, SCHEMAS[command], leaves, [*options], data)
        if reason is not None:
            raise UsageError(reason)


@contextmanager
def own_options() -> Iterator[None]:
    """While entered, Hydra composes the option files of gan-cli itself, read by `OptionSource`."""
    with initialize_config_dir(str(config_folder()), job_name="gan-train", version_base="1.3"):
        sources = GlobalHydra.instance().config_loader().get_sources()
        index = next(number for number, source in enumerate(sources) if source.provider == "main")
        sources[index] = OptionSource("main", str(config_folder()))
        yield


def _compose(command: str, lines: Iterable[str] = ()) -> DictConfig:
    """Returns what Hydra composes with these overrides, including the section `hydra`."""
    return compose(command, overrides=[*NOT_USED, *searchpath_overrides(), *lines], return_hydra_config=True)


def _lines(overrides: Iterable[Override]) -> tuple[str, ...]:
    return tuple(override.input_line or "" for override in overrides)


def searchpath_overrides() -> list[str]:
    """Returns the override that adds the folders of the user and of plugins to Hydra's search path, or none."""
    folders = ",".join(quote_for_hydra(search_path_entry(folder)) for folder in user_config_folders())
    return [f"hydra.searchpath=[{folders}]"] if folders else []


@lru_cache(maxsize=4)
def _default(command: str, folders: tuple[Path, ...]) -> tuple[DictConfig, DictConfig]:
    """Returns the config without overrides twice: with, and without the section `hydra`. Callers must not change it.

    The result is cached. `folders`, the option folders of the user and of plugins, only distinguish cache entries.
    """
    default = _compose(command)
    return default, _without_hydra(default)


def _compose_alone(command: str, bundle: Override) -> DictConfig:
    """Returns the composition with one bundle and no other override. Callers must not change it: it may be cached."""
    composed_once = _compose if user_config_folders() else _compose_cached
    return composed_once(command, _lines(with_recipe_none([bundle])))


_compose_cached = lru_cache(maxsize=64)(_compose)


def _without_hydra(config: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
