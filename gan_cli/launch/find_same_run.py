"""`resume=auto`: finds the run with an equal config, which the command resumes instead of starting a new one."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_cli.config import recipes, train_config
from gan_cli.config.compose import compose_command
from gan_cli.config.overrides import quote_literals
from gan_cli.config.train_config import Config
from gan_cli.errors import CheckpointError, UsageError, first_few
from gan_cli.launch.fine_tune import set_by_init_from
from gan_cli.launch.resume_changes import CHANGEABLE_SETTINGS, DATA_LOCATION_KEYS, initial_values
from gan_cli.state import checkpoint
from gan_cli.storage.run_folder import CHECKPOINTS, read_record, runs_in


def find_equal_run(config: Config, overrides: Sequence[str] | None) -> Path | None:
    """The newest run of this name with a config equal to `config`, which `overrides` gave; None if there are no runs.

    If none is equal, the newest run that differs in the paths of its data alone; the caller compares the data. A
    setting that was changed on resume may have its first or its last value. UsageError if all runs differ.
    """
    moved: Path | None = None
    first_difference: tuple[Path, list[str]] | None = None
    for folder in runs_in(Path(config.output) / config.run_name):
        try:
            saved, _ = checkpoint.load_newest(folder / CHECKPOINTS)
        except CheckpointError as error:
            print(f"warning: resume=auto skips {error}", flush=True)
            continue
        differing = train_config.differing_keys(with_recipe_of_run(saved.config, config, overrides), saved.config)
        if config.init_from is not None:  # these settings came from the other checkpoint
            differing = [text for text in differing if not set_by_init_from(text, overrides)]
        differing = _without_changes(differing, config, read_record(folder))
        if not differing:
            return folder
        if all(text.startswith(tuple(f"{key}=" for key in DATA_LOCATION_KEYS)) for text in differing):
            moved = moved or folder
        first_difference = first_difference or (folder, differing)
    if moved is None and first_difference is not None:
        folder, differing = first_difference
        shown = typed_keys_first(differing, overrides)
        raise UsageError(
            f"resume=auto: {folder} differs in {shown}; give the same keys,"
            f" another name=, or leave out resume{_way_to_change(folder, differing)}"
        )
    return moved


def _without_changes(differing: list[str], config: Config, record: Mapping[str, Any]) -> list[str]:
    """The differences, without keys that were changed on resume and whose first value is equal to this config's."""
    first, current = initial_values(record), dict(train_config.flatten(train_config.to_dict(config)))
    same = tuple(f"{key}=" for key, value in first.items() if key in current and current[key] == value)
    return [text for text in differing if not text.startswith(same)] if same else differing


def _way_to_change(folder: Path, differing: list[str]) -> str:
    """Text that suggests a command to change these settings of the run; empty if other keys differ too."""
    typed = [text.partition(" (was")[0] for text in differing]
    if any(text.partition("=")[0] not in CHANGEABLE_SETTINGS for text in typed):
        return ""
    return f"; or change them in that run: {shlex.join([f'resume={folder}', *typed])}"


def typed_keys_first(differing: Sequence[str], overrides: Sequence[str] | None) -> str:
    """The first few of `configs.differences`: keys that the user typed before keys that follow from them."""
    typed = {override.partition("=")[0].replace("/", ".") for override in overrides or ()} | {recipes.GROUP}
    return first_few(sorted(differing, key=lambda text: text.partition("=")[0].removesuffix(".name") not in typed))


def with_recipe_of_run(saved: Config, config: Config, overrides: Sequence[str] | None) -> Config:
    """Composes the config again with the recipe of the saved run, if both used `recipe=auto` with different results.

    The data may have grown since the run started. `overrides` are those of the config; if None, it is not changed.
    """
    same = config.recipe_used == saved.recipe_used
    if {config.recipe, saved.recipe} != {recipes.AUTO} or same or overrides is None:
        return config
    try:
        return train_config.parse_unvalidated(compose_command("train", overrides, saved.recipe_used).data)
    except UsageError:  # the recipe no longer exists
        return config


def note_on_recipe(saved: Config, record: Mapping[str, Any]) -> str | None:
    """A note for a run that was started before recipes existed, if its command would use one now; else None."""
    config = record.get("config")
    if not isinstance(config, dict) or recipes.GROUP in config:
        return None
    try:
        words = [word for word in shlex.split(str(record.get("command")))[1:] if not word.startswith("-")]
        name = compose_command("train", list(map(quote_literals, words))).recipe.name
    except (UsageError, ValueError):
        name = recipes.choose_recipe(train_config.to_dict(saved)).name
    if name == recipes.NONE:
        return None
    return f"recipe: none, as the run started before recipes existed; it keeps its settings, a new run would use {name}"
