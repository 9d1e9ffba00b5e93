"""The plugin interface: options that an installed package adds to gan-cli, with their YAML files.

A package names one `Plugin` under the entry-point group `gan_cli.plugins`; `plugins=[its-entry-point]` enables it. No
file, checkpoint or config can enable one. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

ENTRY_POINTS = "gan_cli.plugins"


class Part(NamedTuple):
    """One option: the dataclass of its keys, declared with `gan_cli.config.schema.key`, and what implements it.

    `builds` is, for a network, a class or function `(sample_shape, **keys) -> nn.Module`; for a data set, a function
    `(image_size=(height, width) or None, **keys) -> Dataset`; for a loss, a `gan_cli.objectives.losses.Loss`; for a
    regularizer, a penalty `(PenaltyInputs) -> Tensor`.
    """

    options: type
    builds: Callable[..., Any] | Any


@dataclass(frozen=True)
class Plugin:
    """The options of one package. `configs` is a folder of YAML files; `loss/mine.yaml` allows `loss=mine`."""

    configs: Path
    datasets: Mapping[str, Part] = field(default_factory=dict)
    generators: Mapping[str, Part] = field(default_factory=dict)
    discriminators: Mapping[str, Part] = field(default_factory=dict)
    losses: Mapping[str, Part] = field(default_factory=dict)
    regularizers: Mapping[str, Part] = field(default_factory=dict)


ENABLED: dict[str, Plugin] = {}  # in this process, by entry point; only `gan_cli.plugins.loader` adds to it
