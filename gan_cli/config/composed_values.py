"""Extracts plain data from a config that Hydra composed, and refuses what neither files nor users may set."""

from __future__ import annotations

import re
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gan_cli.config.options.fields import flatten
from gan_cli.errors import UsageError, did_you_mean, one_line


def to_container(config: DictConfig, *, resolve: bool = False) -> dict[str, Any]:
    """Returns the config as plain dicts and lists. Interpolations stay text unless `resolve` is True."""
    return OmegaConf.to_container(config, resolve=resolve)  # type: ignore[return-value]


def resolve(config: DictConfig) -> dict[str, Any]:
    """Returns the config as plain data. Raises UsageError if an interpolation cannot be resolved."""
    try:
        return to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        values = dict(flatten(to_container(config)))
        absent = re.match(r"Interpolation key '(.*?)' not found", str(error))
        reason = (
            f"no key {absent[1]}{did_you_mean(absent[1], values)}" if absent else "refers to itself, or to no value"
        )
        raise UsageError(f"{error.full_key}={one_line(values.get(str(error.full_key)), 80)}: {reason}") from error


def refuse_resolvers(whole: DictConfig) -> None:
    """Raises UsageError if a value uses `${resolver:...}`."""
    for dotted, value in flatten({key: part for key, part in to_container(whole).items() if key != "hydra"}):
        if isinstance(value, str) and re.search(r"(?<!\\)\$\{[^}]*:", value):
            raise UsageError(f"{dotted}={value}: only keys can be interpolated, as ${{seed}}")


def refuse_hydra_keys(whole: DictConfig, default: DictConfig) -> None:
    """Raises UsageError if a file sets one of Hydra's own keys, some of which run code. `default` is the default."""
    of_any, ours = (to_container(config.hydra) for config in (whole, default))
    for section in of_any.keys() - {"runtime", "overrides", "searchpath"}:
        theirs, expected = (dict(part.get(section) or {}) for part in (of_any, ours))
        if section == "job":
            theirs["override_dirname"] = expected["override_dirname"] = ""
        if theirs != expected:
            raise UsageError(f"hydra.{section}: no file of options may set it; use the keys that --help lists")
