"""A training command, read and checked. Imports no torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_cli.config.recipes import NO_RECIPE, RecipeChoice
from gan_cli.config.train_config import Config

if TYPE_CHECKING:
    from gan_cli.state.checkpoint import Checkpoint


@dataclass(frozen=True)
class Request:
    """A training command: its config, and where the values of the config come from.

    `named` are the dotted keys that the user wrote. `implied` holds the keys and values that chosen options or the
    recipe set, and `from_recipe` names those of these keys that the recipe set. `recipe` is the chosen recipe with the
    reason for the choice. `overrides` are command-line words from which Hydra composes the config, None if not known.
    `command` is the whole command line. `folder` is the folder for the run; None creates a new dated folder. `base` is
    the checkpoint that `init_from` names.
    """

    config: Config
    named: tuple[str, ...] = ()
    implied: dict[str, Any] = dataclasses.field(default_factory=dict)
    recipe: RecipeChoice = NO_RECIPE
    overrides: tuple[str, ...] | None = ()
    from_recipe: tuple[str, ...] = ()
    command: str = "gan-train"
    folder: Path | None = None
    base: Checkpoint | None = None
