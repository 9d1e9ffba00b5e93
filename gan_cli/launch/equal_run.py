"""`resume=auto`: the run that a command would begin anew if it were not there already."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_cli.config import recipes, train_config
from gan_cli.config.compose import compose_command
from gan_cli.config.overrides import quote_literals
from gan_cli.config.train_config import Config
from gan_cli.errors import CheckpointError, UsageError, few
from gan_cli.launch.changes import PLACES, SETTINGS, as_begun
from gan_cli.launch.fine_tune import brought_by_base
from gan_cli.state import checkpoint
from gan_cli.storage.run_folder import CHECKPOINTS, read_record, runs_in


def find_equal(config: Config, overrides: Sequence[str] | None) -> Path | None:
    """The newest run of this name with an equal config, which `overrides` came to; None if there are no runs.

    Else the newest one whose data were elsewhere: whether they are the same is yet to be seen. What was changed in a
    run may be as it is now, or as it was when the run began. UsageError if there are runs, but none equal.
    """
    moved: Path | None = None
    first_difference: tuple[Path, list[str]] | None = None
    for folder in runs_in(Path(config.output) / config.run_name):
        try:
            saved, _ = checkpoint.newest(folder / CHECKPOINTS)
        except CheckpointError as error:
            print(f"warning: resume=auto passes over {error}", flush=True)
            continue
        differing = train_config.differences(with_recipe_of(saved.config, config, overrides), saved.config)
        if config.init_from is not None:  # which brought these along
            differing = [text for text in differing if not brought_by_base(text, overrides)]
        differing = _without_changes(differing, config, read_record(folder))
        if not differing:
            return folder
        if all(text.startswith(tuple(f"{key}=" for key in PLACES)) for text in differing):
            moved = moved or folder
        first_difference = first_difference or (folder, differing)
    if moved is None and first_difference is not None:
        folder, differing = first_difference
        shown = typed_first(differing, overrides)
        raise UsageError(
            f"resume=auto: {folder} differs in {shown}; give the same keys,"
            f" another name=, or leave out resume{_way_to_change(folder, differing)}"
        )
    return moved


def _without_changes(differing: list[str], config: Config, record: Mapping[str, Any]) -> list[str]:
    """The differences without those of keys that the run began with as this config has them."""
    begun, mine = as_begun(record), dict(train_config.flatten(train_config.to_dict(config)))
    same = tuple(f"{key}=" for key, value in begun.items() if key in mine and mine[key] == value)
    return [text for text in differing if not text.startswith(same)] if same else differing


def _way_to_change(folder: Path, differing: list[str]) -> str:
    """What changes the run's settings, if no other keys differ."""
    typed = [text.partition(" (was")[0] for text in differing]
    if any(text.partition("=")[0] not in SETTINGS for text in typed):
        return ""
    return f"; or change them in that run: {shlex.join([f'resume={folder}', *typed])}"


def typed_first(differing: Sequence[str], overrides: Sequence[str] | None) -> str:
    """The first few of `configs.differences`: those in what was typed, before all that came along with it."""
    typed = {override.partition("=")[0].replace("/", ".") for override in overrides or ()} | {recipes.GROUP}
    return few(sorted(differing, key=lambda text: text.partition("=")[0].removesuffix(".name") not in typed))


def with_recipe_of(saved: Config, config: Config, overrides: Sequence[str] | None) -> Config:
    """The config with the recipe that the data called for when the saved run began: they may have grown since.

    `overrides` are those that the config came from; None if they are not known, and it is as it is.
    """
    same = config.recipe_used == saved.recipe_used
    if {config.recipe, saved.recipe} != {recipes.AUTO} or same or overrides is None:
        return config
    try:
        return train_config.read(compose_command("train", overrides, saved.recipe_used).data)
    except UsageError:  # a recipe that is no longer there
        return config


def note_on_recipe(saved: Config, record: Mapping[str, Any]) -> str | None:
    """What is said of a run that began before there were recipes, where its command would now get one."""
    config = record.get("config")
    if not isinstance(config, dict) or recipes.GROUP in config:
        return None
    try:
        words = [word for word in shlex.split(str(record.get("command")))[1:] if not word.startswith("-")]
        name = compose_command("train", list(map(quote_literals, words))).recipe.name
    except (UsageError, ValueError):
        name = recipes.choose(train_config.to_dict(saved)).name
    if name == recipes.NONE:
        return None
    return (
        f"recipe: none, as the run began before there were any; it keeps its own settings, a new run would get {name}"
    )
