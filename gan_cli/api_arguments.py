"""Converts the arguments of the Python interface to overrides and validated configs. Imports no torch."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_cli.config import train_config
from gan_cli.config.compatibility import validate
from gan_cli.config.overrides import LITERAL_KEYS, quote_for_hydra, quote_literals
from gan_cli.config.recipes import AUTO, NONE, USED_KEY, RecipeChoice
from gan_cli.config.train_config import Config
from gan_cli.errors import UsageError, one_line
from gan_cli.launch.request import Request

if TYPE_CHECKING:
    from gan_cli.config.commands import EvalConfig

UNQUOTED = re.compile(r"[\w./+-]+")  # values that need no quotes in Hydra's grammar


def read_overrides(overrides: Sequence[str]) -> Request:
    """Composes and checks the config of a `gan-train` command line, without reading the training data.

    Returns the config, and where its values come from. If the overrides resume a run, the config is
    composed from the overrides of that run too. Raises UsageError if a key or value is wrong.
    """
    from gan_cli.config.compose import compose_command
    from gan_cli.config.option_files import naming_file

    resumed = None
    if any(override.startswith("resume=") for override in overrides):
        from gan_cli.launch.resume_changes import overrides_for_resume

        resumed = overrides_for_resume(overrides)
    if resumed is None:
        composed = compose_command("train", overrides)
    else:
        composed = compose_command("train", resumed, recipe=NONE)
    with naming_file(composed.named):
        parsed = train_config.parse_unvalidated(composed.data)
        train_config.refuse_sweep_keys(parsed)
        # With init_from, the architecture is only known once that checkpoint is read.
        if resumed is None and parsed.init_from is None:
            validate(parsed)
    if resumed is not None:
        named = tuple(key for key in composed.named if key != "dataset")  # overrides_for_resume adds it
        return Request(parsed, named, overrides=tuple(resumed))
    origin = (composed.named, composed.implied, composed.recipe, tuple(overrides), composed.from_recipe)
    return Request(parsed, *origin)


def resolve_config(config: Config) -> Request:
    """Returns the config with overrides that compose it; without them if neither resume=auto nor replay needs them."""
    typed = config_to_overrides(config, config.recipe_used) if config.resume == "auto" or config.replay else None
    overrides = None if typed is None else tuple(map(quote_literals, typed))
    return Request(config, recipe=RecipeChoice(config.recipe_used, ""), overrides=overrides)


def parse_overrides(config: Any) -> list[str]:
    """Returns a list of words such as `loss=hinge`, or a mapping of keys to values, as such a list, or refuses it."""
    if isinstance(config, Mapping):
        return [_typed(key, value) for key, value in train_config.flatten(config)]
    if isinstance(config, str) or not isinstance(config, Iterable):
        raise UsageError(f"config={one_line(config, 60)}: expected a list of overrides, as ['loss=hinge', 'steps=500']")
    overrides = list(config)
    for override in overrides:
        if not isinstance(override, str):
            raise UsageError(f"config: {one_line(repr(override), 60)} is no override such as 'loss=hinge'")
    return overrides


def config_to_overrides(config: Config, recipe: str | None = None) -> list[str] | None:
    """Returns overrides from which Hydra composes this config, or None if there are no such overrides.

    The overrides name the options first and then set single values. `recipe` is the recipe to use for `recipe=auto`;
    None chooses the recipe that suits the data as they are now.
    """
    from gan_cli.config.compose import compose_command, compose_default

    default = train_config.parse_unvalidated(compose_default("train"))
    target, defaults = (dict(train_config.flatten(train_config.to_dict(each))) for each in (config, default))
    chosen = {
        key.removesuffix(".name").replace(".", "/"): value
        for key, value in target.items()
        if key.endswith(".name") and defaults.get(key) != value
    }
    for group in train_config.LIST_GROUPS:
        options = getattr(config, group)
        if options.keys() != getattr(default, group).keys():
            chosen[group] = list(options) or "none"
    if config.recipe != AUTO:
        chosen["recipe"] = config.recipe
    left_out = {*train_config.RECORDED_KEYS, USED_KEY}
    left_out |= set() if config.budget is None else {"steps"}  # a command sets either budget or steps
    leaves = {key: value for key, value in target.items() if key not in left_out}
    changed: dict[str, Any] = {}
    for _ in range(3):  # setting a key may change the defaults of other keys
        typed = [_typed(key, value) for key, value in {**chosen, **changed}.items()]
        try:
            overrides = list(map(quote_literals, typed))
            composed = train_config.parse_unvalidated(compose_command("train", overrides, recipe).data)
        except UsageError:
            return None  # the config names an option whose file or plugin is missing
        found = dict(train_config.flatten(train_config.to_dict(composed)))
        differing = {key: value for key, value in leaves.items() if found.get(key, found) != value}
        if not differing:
            return typed if found.keys() - left_out == leaves.keys() else None
        changed |= differing
    return None


def _typed(key: str, value: Any) -> str:
    """Returns one override as a word of the command line, such as `loss=hinge`."""
    return f"{key}={value}" if key in LITERAL_KEYS and isinstance(value, str | Path) else f"{key}={_value(value)}"


def _value(value: Any) -> str:
    """Returns a value as text in Hydra's grammar. The text is in quotes if the grammar requires quotes."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_value(item) for item in value) + "]"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    return text if UNQUOTED.fullmatch(text) else quote_for_hydra(text)


def parse_evaluation_options(**given: Any) -> EvalConfig:
    """Returns the arguments of `evaluate` as options of `gan-eval`.

    Raises UsageError if `gan-eval` would refuse an option, or if the options for a checkpoint and for two folders of
    images are mixed.
    """
    from gan_cli.config.commands import EvalConfig, check_evaluation_source
    from gan_cli.config.compose import compose_default
    from gan_cli.config.validation import parse

    for name, value in given.items():
        if isinstance(value, os.PathLike):
            given[name] = os.fspath(value)
        elif hasattr(value, "tolist"):  # an array or number of NumPy or PyTorch
            given[name] = value.tolist()
        elif isinstance(value, Iterable) and not isinstance(value, str):
            given[name] = list(value)
    options: EvalConfig = parse(EvalConfig, {**compose_default("eval"), **given})
    check_evaluation_source(
        options, "path is missing: a checkpoint or a run's folder; or give two folders, real= and fake="
    )
    return options
