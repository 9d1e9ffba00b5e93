"""Expands the command line of a sweep into combinations of values and composes the config of each combination."""

from __future__ import annotations

import copy
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from gan_cli.config import recipes
from gan_cli.config.compose import HYDRA_KEYS, Composed, compose_overrides, groups
from gan_cli.config.overrides import read_override
from gan_cli.config.suggestions import OF_HYDRA
from gan_cli.errors import UsageError, one_line

MOST_JOBS = 10_000


@dataclass(frozen=True)
class Combination:
    """One combination of values in a sweep.

    `overrides` are the overrides of the combination in Hydra's spelling. `values` maps each key that varies in the
    sweep to its value. `data` is the composed config as a nested dict. `typed` is the config composed without the
    recipe that `recipe=auto` chooses, because that choice may change with the data.
    """

    overrides: tuple[str, ...]
    values: dict[str, Any]
    data: dict[str, Any]
    typed: dict[str, Any]


@dataclass(frozen=True)
class PlannedSweep:
    """The expanded command line of a sweep.

    `named` holds all keys that the user wrote, and `varied` holds the keys with several values. `launcher` and
    `sweeper` hold the overrides of Hydra's launcher and sweeper, if the user named one. If a sweeper such as Optuna
    chooses the values, `combinations` only serves to check the command: each combination has at most one key that is
    not at its first value. For an interval, only the two ends are checked.
    """

    named: tuple[str, ...]
    varied: tuple[str, ...]
    launcher: tuple[str, ...]
    sweeper: tuple[str, ...]
    combinations: list[Combination]


def compose_sweep(arguments: Sequence[str]) -> PlannedSweep:
    """Expands the command line of a sweep and composes the config of each combination.

    Raises UsageError for a mistake in an override or if there are more than MOST_JOBS combinations.
    """
    overrides = [read_override(argument) for argument in arguments]
    own = [override for override in overrides if not override.key_or_group.startswith(HYDRA_KEYS)]
    launcher, sweeper = _hydra_overrides([override for override in overrides if override not in own])
    values = [_values(override, bool(sweeper)) if override.is_sweep_override() else [override] for override in own]
    if sweeper:
        combinations = _vary_one_at_a_time(values)
    else:
        if math.prod(map(len, values)) > MOST_JOBS:
            raise UsageError(f"{math.prod(map(len, values)):,} combinations: a sweep has at most {MOST_JOBS:,} jobs")
        combinations = [list(combination) for combination in itertools.product(*values)]
    varied = tuple(override.key_or_group for override in own if override.is_sweep_override())
    return PlannedSweep(
        named=tuple(override.key_or_group for override in own),
        varied=varied,
        launcher=launcher,
        sweeper=sweeper,
        combinations=_compose_all(combinations, varied),
    )


def _hydra_overrides(overrides: Sequence[Override]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the overrides of Hydra's launcher and sweeper, without options that do nothing; refuses other keys."""
    found: dict[str, list[str]] = {"launcher": [], "sweeper": []}
    for line in (override.input_line or "" for override in overrides):
        kind = re.split("[./=]", line)[1]
        if kind not in found:
            raise UsageError(f"{line}: {OF_HYDRA}")
        found[kind] += [line] if line not in ("hydra/launcher=basic", "hydra/sweeper=basic") else []
    if found["sweeper"] and not any(line.startswith("hydra/sweeper=") for line in found["sweeper"]):
        raise UsageError(f"{found['sweeper'][0]}: needs a sweeper, as hydra/sweeper=optuna")
    return tuple(found["launcher"]), tuple(found["sweeper"])


def _vary_one_at_a_time(values: Sequence[list[Override]]) -> list[list[Override]]:
    """Returns a combination of all first values, then combinations in which one key has one of its other values."""
    first = [choices[0] for choices in values]
    others = [[*first[:index], value, *first[index + 1 :]] for index, each in enumerate(values) for value in each[1:]]
    return [first, *others]


def _compose_all(combinations: list[list[Override]], varied: tuple[str, ...]) -> list[Combination]:
    """Composes all combinations. Hydra is called only once for combinations that choose the same options.

    Options such as `loss=hinge` need a new Hydra composition, and so do the keys on which a recipe depends. The values
    of all other keys are set in a copy of an earlier composition, also in the keys that interpolate them.
    """
    options = groups("train")
    composing = {*options, recipes.ADA_TARGET, recipes.AUGMENT}
    composed: dict[tuple[str, ...], Composed] = {}

    def compose(combination: Sequence[Override], recipe: str) -> dict[str, Any]:
        lines = (recipe, *(each.input_line or "" for each in combination if each.key_or_group in composing))
        if lines not in composed:
            composed[lines] = compose_overrides("train", combination, recipe)
        base = composed[lines]
        data = copy.deepcopy(base.data)
        for override in combination:
            key = override.key_or_group
            for dotted in (key, *base.interpolations.get(key, ())) if key not in options else ():
                _set(data, dotted, override.value())
        return data

    found = []
    for combination in combinations:
        data = typed = compose(combination, recipes.NONE)
        if typed.get(recipes.GROUP) == recipes.AUTO:
            data = compose(combination, recipes.choose_recipe(typed).name)
        values = {each.key_or_group: each.value() for each in combination if each.key_or_group in varied}
        found.append(Combination(tuple(override.input_line or "" for override in combination), values, data, typed))
    return found


def _set(data: dict[str, Any], dotted: str, value: Any) -> None:
    """Sets a dotted key in the nested dict. Does nothing if the value is a section, which comes from an option."""
    *sections, leaf = dotted.split(".")
    for section in sections:
        data = data[section]
    if not isinstance(data.get(leaf), dict):
        data[leaf] = value


def _values(override: Override, searched: bool) -> list[Override]:
    """Returns one override for each value of a swept override; for an interval, one for each of its two ends.

    Raises UsageError if there are no values, if they are too many or invalid, or for an interval without a search.
    """
    key, swept = override.get_key_element(), override.value()
    if isinstance(swept, IntervalSweep) and not searched:
        raise UsageError(f"{override.input_line}: an interval needs a sweeper that searches, as hydra/sweeper=optuna")
    try:
        if isinstance(swept, RangeSweep) and next(itertools.islice(swept.range(), MOST_JOBS, None), None) is not None:
            raise UsageError(f"{override.input_line}: a sweep has at most {MOST_JOBS:,} jobs")
        ends = [swept.start, swept.end] if isinstance(swept, IntervalSweep) else override.sweep_string_iterator()
        found = [read_override(f"{key}={value}") for value in ends]
    except (HydraException, ValueError, TypeError) as error:
        raise UsageError(f"{override.input_line}: cannot be swept over ({one_line(error)})") from error
    if not found:
        raise UsageError(f"{override.input_line}: has no value in it")
    return found
