"""`plugins=[...]`: finds what installed packages offer by name, and adds it to the tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

from gan_cli.config import options
from gan_cli.config.plugin import ENABLED, ENTRY_POINTS, Part, Plugin
from gan_cli.errors import UsageError, closest, one_line


def enable(names: Iterable[str]) -> None:
    """Enables plugins by the names of their entry points; UsageError for one that is not installed or does not fit."""
    for name in names:
        if name not in ENABLED:
            plugin = _load(name)
            _add(name, plugin)
            ENABLED[name] = plugin


def _load(name: str) -> Plugin:
    installed = {point.name: point for point in metadata.entry_points(group=ENTRY_POINTS)}
    if name not in installed:
        known = f"installed are {', '.join(sorted(installed))}" if installed else "none is installed"
        raise UsageError(f"plugins=[{name}]: no such plugin{closest(name, installed)}, {known}; see examples/ for one")
    try:
        plugin = installed[name].load()
    except Exception as error:  # another's code, which can fail in any way
        raise UsageError(f"plugins=[{name}]: {installed[name].value} cannot be loaded ({one_line(error)})") from error
    if not isinstance(plugin, Plugin):
        raise UsageError(f"plugins=[{name}]: {installed[name].value} is no gan_cli.config.plugin.Plugin")
    return plugin


def _add(name: str, plugin: Plugin) -> None:
    """All of its parts, or none."""
    from gan_cli.data import load_dataset
    from gan_cli.models import registry
    from gan_cli.objectives import losses, regularizers

    parts: list[tuple[str, Mapping[str, Part], dict[str, type], dict[str, Any]]] = [
        ("dataset", plugin.datasets, options.DATASETS, load_dataset.BUILDERS),
        ("architecture/generator", plugin.generators, options.GENERATORS, registry.GENERATORS),
        ("architecture/discriminator", plugin.discriminators, options.DISCRIMINATORS, registry.DISCRIMINATORS),
        ("loss", plugin.losses, options.LOSSES, losses.LOSSES),
        ("regularizer", plugin.regularizers, options.REGULARIZERS, regularizers.PENALTIES),
    ]
    for group, offered, known, _ in parts:
        for option, part in offered.items():
            if option in known:
                raise UsageError(f"plugins=[{name}]: {group}={option} is taken already, its author must rename it")
            if not dataclasses.is_dataclass(part.options):
                raise UsageError(f"plugins=[{name}]: {group}={option} has no dataclass of options")
    for _, offered, known, builders in parts:
        for option, part in offered.items():
            known[option] = part.options
            builders[option] = part.builds
