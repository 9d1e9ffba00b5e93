"""What Hydra composed, as plain data: its values, which keys follow others, and what came along unnamed."""

from __future__ import annotations

import re
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gan_cli.config.train_config import flatten
from gan_cli.errors import UsageError, one_line


def container(config: DictConfig, *, resolve: bool = False) -> dict[str, Any]:
    return OmegaConf.to_container(config, resolve=resolve)  # type: ignore[return-value]


def resolve(config: DictConfig) -> dict[str, Any]:
    try:
        return container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UsageError(one_line(error)) from error


def followers(whole: DictConfig) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for dotted, value in flatten(container(whole)):
        match = re.fullmatch(r"\$\{([\w.]+)\}", value) if isinstance(value, str) else None
        if match:
            found.setdefault(match[1], []).append(dotted)
    return found


def brought_along(default: DictConfig, whole: DictConfig, named: tuple[str, ...]) -> dict[str, Any]:
    """Leaves that differ from the default composition without the user having named them."""
    before = dict(flatten(container(default)))
    after = flatten(container(whole))
    return {
        dotted: value
        for dotted, value in after
        if (dotted not in before or before[dotted] != value)
        and not any(dotted == key or dotted.startswith(f"{key}.") for key in named)
    }
