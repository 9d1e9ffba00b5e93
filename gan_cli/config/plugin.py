"""The plugin interface: options that an installed package adds to gan-cli, with their YAML files.

A package registers one `Plugin` in the entry-point group `gan_cli.plugins`. The user enables the plugin by
`plugins=[name of its entry point]`. No file, checkpoint or config can enable a plugin. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

ENTRY_POINTS = "gan_cli.plugins"


class Part(NamedTuple):
    """One option that a plugin adds: the class of its keys, which `section` made, and what implements it.

    `builds` is for a network a class or function `(sample_shape, **keys) -> nn.Module`, for a data set a function
    `(image_size=(height, width) or None, **keys) -> Dataset`, for a loss a `gan_cli.objectives.losses.Loss`, and for a
    regularizer a penalty `(PenaltyInputs) -> Tensor`.
    """

    options: type
    builds: Callable[..., Any] | Any


@dataclass(frozen=True)
class Plugin:
    """The options that one package adds.

    `configs` is a folder with a YAML file for each option: the file `loss/mine.yaml` makes `loss=mine` possible.
    """

    configs: Path
    datasets: Mapping[str, Part] = field(default_factory=dict)
    generators: Mapping[str, Part] = field(default_factory=dict)
    discriminators: Mapping[str, Part] = field(default_factory=dict)
    losses: Mapping[str, Part] = field(default_factory=dict)
    regularizers: Mapping[str, Part] = field(default_factory=dict)


ENABLED: dict[str, Plugin] = {}  # by entry point, for this process; only `gan_cli.plugins.loader` adds plugins
