"""A training command, read and checked. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_cli.config.recipes import NO_RECIPE, RecipeChoice
from gan_cli.config.train_config import Config

if TYPE_CHECKING:
    from gan_cli.distributed.process_group import ProcessGroup
    from gan_cli.state.checkpoint import Checkpoint


@dataclass(frozen=True)
class Request:
    """A training command: its config, and where the values of the config come from."""

    config: Config
    named: tuple[str, ...] = ()  # dotted keys that the user wrote
    implied: dict[str, Any] = field(default_factory=dict)  # keys and values that options or the recipe set
    recipe: RecipeChoice = NO_RECIPE
    overrides: tuple[str, ...] | None = ()  # from which Hydra composes the config, None if not known
    from_recipe: tuple[str, ...] = ()  # those keys of `implied` that the recipe set
    auto: tuple[str, ...] = ()  # the keys whose values the run chooses by itself
    command: str = "gan-train"
    folder: Path | None = None  # None creates a new dated folder
    base: Checkpoint | None = None  # the checkpoint that `init_from` names
    group: ProcessGroup | None = None  # the processes that train together; None: this one alone
