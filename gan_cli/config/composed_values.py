"""Plain data from a config that Hydra composed: its values, its interpolations, and the values that options implied."""

from __future__ import annotations

import re
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gan_cli.config.train_config import flatten
from gan_cli.errors import UsageError, one_line


def to_container(config: DictConfig, *, resolve: bool = False) -> dict[str, Any]:
    """The config as plain dicts and lists, with interpolations kept as text unless `resolve`."""
    return OmegaConf.to_container(config, resolve=resolve)  # type: ignore[return-value]


def resolve(config: DictConfig) -> dict[str, Any]:
    """The config as plain data with interpolations resolved. Raises UsageError if one cannot be resolved."""
    try:
        return to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UsageError(one_line(error)) from error


def interpolations(whole: DictConfig) -> dict[str, list[str]]:
    """By dotted key, the keys whose value is an interpolation of it: `optimizer.generator.lr` of `optimizer.lr`."""
    found: dict[str, list[str]] = {}
    for dotted, value in flatten(to_container(whole)):
        match = re.fullmatch(r"\$\{([\w.]+)\}", value) if isinstance(value, str) else None
        if match:
            found.setdefault(match[1], []).append(dotted)
    return found


def implied_values(default: DictConfig, whole: DictConfig, named: tuple[str, ...]) -> dict[str, Any]:
    """The dotted keys, with values, that differ from the default composition although the user did not set them."""
    before = dict(flatten(to_container(default)))
    after = flatten(to_container(whole))
    return {
        dotted: value
        for dotted, value in after
        if (dotted not in before or before[dotted] != value)
        and not any(dotted == key or dotted.startswith(f"{key}.") for key in named)
    }
