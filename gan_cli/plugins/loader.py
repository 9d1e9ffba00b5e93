"""Loads the plugins that `plugins=[...]` names, and adds their options to the tables of options and builders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

from gan_cli.config.options.networks.architectures import DISCRIMINATOR_OPTIONS, GENERATOR_OPTIONS
from gan_cli.config.options.objectives import LOSS_OPTIONS, REGULARIZER_OPTIONS
from gan_cli.config.options.published_datasets import DATASET_OPTIONS
from gan_cli.config.plugin import ENABLED, ENTRY_POINTS, Part, Plugin
from gan_cli.errors import UsageError, did_you_mean, one_line


def load_plugins(names: Iterable[str]) -> None:
    """Enables plugins by the names of their entry points. Raises UsageError for one that cannot be used."""
    for name in names:
        if name not in ENABLED:
            plugin = _load(name)
            _add(name, plugin)
            ENABLED[name] = plugin


def _load(name: str) -> Plugin:
    """Returns the plugin of this entry point. Raises UsageError if no such plugin exists or its import fails."""
    installed = {point.name: point for point in metadata.entry_points(group=ENTRY_POINTS)}
    if name not in installed:
        known = f"installed are {', '.join(sorted(installed))}" if installed else "none is installed"
        similar = did_you_mean(name, installed)
        raise UsageError(f"plugins=[{name}]: no such plugin{similar}, {known}; see examples/ for one")
    try:
        plugin = installed[name].load()
    except Exception as error:  # foreign code can fail in any way
        raise UsageError(f"plugins=[{name}]: {installed[name].value} cannot be loaded ({one_line(error)})") from error
    if not isinstance(plugin, Plugin):
        raise UsageError(f"plugins=[{name}]: {installed[name].value} is not a gan_cli.config.plugin.Plugin")
    return plugin


def _add(name: str, plugin: Plugin) -> None:
    """Adds all options of a plugin to the tables; none, with UsageError, if a name is taken or a class is missing."""
    from gan_cli.data import load_dataset
    from gan_cli.models import registry
    from gan_cli.objectives import losses, regularizers

    parts: list[tuple[str, Mapping[str, Part], dict[str, type], dict[str, Any]]] = [
        ("dataset", plugin.datasets, DATASET_OPTIONS, load_dataset.BUILDERS),
        ("architecture/generator", plugin.generators, GENERATOR_OPTIONS, registry.GENERATORS),
        ("architecture/discriminator", plugin.discriminators, DISCRIMINATOR_OPTIONS, registry.DISCRIMINATORS),
        ("loss", plugin.losses, LOSS_OPTIONS, losses.LOSSES),
        ("regularizer", plugin.regularizers, REGULARIZER_OPTIONS, regularizers.PENALTIES),
    ]
    for group, offered, known, _ in parts:
        for option, part in offered.items():
            if option in known:
                raise UsageError(f"plugins=[{name}]: {group}={option} is taken already, its author must rename it")
            if not hasattr(part.options, "__pydantic_fields__"):
                raise UsageError(f"plugins=[{name}]: {group}={option} has no class of keys, as `section` makes")
    for _, offered, known, builders in parts:
        known.update((option, part.options) for option, part in offered.items())
        builders.update((option, part.builds) for option, part in offered.items())
