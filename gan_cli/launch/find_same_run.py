"""`resume=auto`: finds a run whose config equals that of the command, so that the command resumes that run."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from gan_cli.config import recipes, train_config
from gan_cli.config.compose import compose_command
from gan_cli.config.overrides import quote_literals
from gan_cli.config.train_config import Config
from gan_cli.errors import CheckpointError, StorageError, UsageError, first_few
from gan_cli.launch.fine_tune import set_by_init_from
from gan_cli.launch.request import Request
from gan_cli.launch.resume_changes import CHANGEABLE_SETTINGS, DATA_LOCATION_KEYS, initial_values
from gan_cli.launch.saved_settings import words_to_resume
from gan_cli.state import checkpoint
from gan_cli.storage.locks import exclusive, lock_folder
from gan_cli.storage.run_folder import CHECKPOINTS, runs_in
from gan_cli.storage.run_record import RunRecord, load_record


def find_equal_run(config: Config, overrides: Sequence[str] | None) -> Path | None:
    """Returns the folder of the newest run of this name whose config equals `config`.

    If no run is equal, returns the newest run that differs only in the keys for the place of the data; the caller then
    compares the data. Returns None without a readable checkpoint. A setting that was changed on resume may have its
    first or its last value. `overrides` are the words that gave `config`. Raises UsageError if all runs differ.
    """
    moved: Path | None = None
    different: dict[Path, dict[str, str]] = {}
    for folder in runs_in(Path(config.output) / config.run_name):
        try:
            saved, _ = checkpoint.load_newest(folder / CHECKPOINTS)
        except CheckpointError as error:
            print(f"warning: resume=auto skips {error}", flush=True)
            continue
        differing = typed_differences(config, saved.config, overrides)
        differing = _without_changes(differing, config, load_record(folder))
        if not differing:
            return folder
        if differing.keys() <= {*DATA_LOCATION_KEYS}:
            moved = moved or folder
        different[folder] = differing
    if moved is None and different:
        folder, differing = next(iter(different.items()))
        raise UsageError(
            f"resume=auto: {folder} differs in {typed_keys_first(differing, overrides)}; give the same keys,"
            f" another name=, or leave out resume{_way_to_change(config, folder, differing)}"
        )
    return moved


@contextlib.contextmanager
def refusing_begun_run(request: Request) -> Iterator[None]:
    """With `resume=auto`, lets no other process begin a run of this name meanwhile, and refuses one that has begun."""
    if request.config.resume != "auto":
        yield
        return
    parent = Path(request.config.output) / request.config.run_name
    parent.mkdir(parents=True, exist_ok=True)
    with exclusive(parent):
        refuse_begun_run(request.config, request.overrides)
        yield


def refuse_begun_run(config: Config, overrides: Sequence[str] | None) -> None:
    """Raises StorageError if another process trains a run of this name whose config equals `config`.

    `resume=auto` found none, because that run had no checkpoint or no folder yet. `overrides` gave `config`.
    """
    for folder in runs_in(Path(config.output) / config.run_name):
        try:
            os.close(lock_folder(folder))
            continue  # no process trains it
        except BlockingIOError:
            pass
        with contextlib.suppress(UsageError):  # its record is not complete, or it needs a plugin
            saved = train_config.parse_unvalidated(load_record(folder).config)
            if not typed_differences(config, saved, overrides):
                raise StorageError(f"resume=auto: {folder} is being trained by another command")


def typed_differences(config: Config, saved: Config, overrides: Sequence[str] | None) -> dict[str, str]:
    """Returns `train_config.differing_keys` with the recipe of `saved`, without what its run took by `init_from`."""
    differing = train_config.differing_keys(with_recipe_of_run(saved, config, overrides), saved)
    if config.init_from is None:
        return differing
    return {key: text for key, text in differing.items() if not set_by_init_from(key, _typed_keys(overrides))}


def _typed_keys(overrides: Sequence[str] | None) -> set[str]:
    return {override.partition("=")[0].replace("/", ".") for override in overrides or ()}


def _without_changes(differing: dict[str, str], config: Config, record: RunRecord) -> dict[str, str]:
    """Returns `differing` without keys that a resume changed and whose first value equals that in `config`."""
    first, current = initial_values(record), dict(train_config.flatten(train_config.to_dict(config)))
    same = {key for key, value in first.items() if key in current and current[key] == value}
    return {key: text for key, text in differing.items() if key not in same}


def _way_to_change(config: Config, folder: Path, differing: dict[str, str]) -> str:
    """Returns text that suggests words to change these settings of the run, if all of them may change.

    `config` is that of the command, which names the data of the run too.
    """
    if not differing.keys() <= {*CHANGEABLE_SETTINGS}:
        return ""
    typed = [text.partition(" (was")[0] for text in differing.values()]
    words = [word for word in words_to_resume(config, folder) if word.partition("=")[0] not in differing]
    return f"; or change them in that run: {shlex.join([*words, *typed])}"


def typed_keys_first(differing: dict[str, str], overrides: Sequence[str] | None) -> str:
    """Returns a line with the first few of `train_config.differing_keys`; keys that the user typed come first."""
    typed = _typed_keys(overrides) | {recipes.GROUP}
    keys = sorted(differing, key=lambda key: key.removesuffix(".name") not in typed)
    return first_few([differing[key] for key in keys])


def with_recipe_of_run(saved: Config, config: Config, overrides: Sequence[str] | None) -> Config:
    """Returns the config composed again with the saved run's recipe, if `recipe=auto` chose different recipes.

    The choices differ, for example, if the data have grown since. `overrides` are the words that gave `config`; if they
    are not known, it is returned unchanged.
    """
    same = config.recipe_used == saved.recipe_used
    if {config.recipe, saved.recipe} != {recipes.AUTO} or same or overrides is None:
        return config
    try:
        return train_config.parse_unvalidated(compose_command("train", overrides, saved.recipe_used).data)
    except UsageError:  # the recipe does not exist any more
        return config


def note_on_recipe(saved: Config, record: RunRecord) -> str | None:
    """Returns a note for a run that was started before recipes existed, if its command would use a recipe now."""
    if not record.config or recipes.GROUP in record.config:
        return None
    try:
        words = [word for word in shlex.split(record.command)[1:] if not word.startswith("-")]
        name = compose_command("train", list(map(quote_literals, words))).recipe.name
    except (UsageError, ValueError):
        name = recipes.choose_recipe(train_config.to_dict(saved)).name
    if name == recipes.NONE:
        return None
    return f"recipe: none, as the run started before recipes existed; it keeps its settings, a new run would use {name}"
