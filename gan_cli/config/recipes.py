"""Chooses a recipe (an option that sets many keys) by the data and the loss. Imports no torch, decodes no image."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from gan_cli.config.options.published_datasets import DATASET_OPTIONS, PUBLISHED
from gan_cli.config.validation import parse
from gan_cli.errors import UsageError, did_you_mean, one_line

GROUP = "recipe"
USED_KEY = "recipe_used"  # the key in which a run records the recipe that was chosen
AUTO, NONE = "auto", "none"
WASSERSTEIN, LEAST_SQUARES = "wasserstein", "least_squares"  # losses with recipes of their own
REQUIRED_KEYS = {"training.ada_target": "training.augment"}  # a key that recipes set -> the key that it needs
FOR_FEW = "_few"
FEW = 1_000  # below this number of samples, D's input is augmented
GREY_SIDE, SMALL_SIDE, MIDDLE_SIDE = 40, 40, 80  # largest side in pixels of each recipe


class RecipeChoice(NamedTuple):
    """The name of a recipe, and a text that says why this recipe was chosen."""

    name: str
    reason: str


NO_RECIPE = RecipeChoice(NONE, "")


class Facts(NamedTuple):
    """The facts that decide the recipe."""

    shape: tuple[int, ...]
    samples: int | None  # None if unknown
    loss: str


def choose_recipe(data: Mapping[str, Any]) -> RecipeChoice:
    """Returns the recipe for a composed config; "none" if `dataset` is invalid, for which parsing raises the error."""
    facts = _facts(data)
    return NO_RECIPE if facts is None else RecipeChoice(_recipe_for(facts), _describe(facts))


def recipe_variant(requested: str, data: Mapping[str, Any], known: Collection[str]) -> RecipeChoice:
    """Returns the recipe `requested`, or its variant, with another penalty, for the loss in `data` if it is `known`."""
    loss = str((data.get("loss") or {}).get("name"))
    name = f"{requested.removesuffix(FOR_FEW)}_{loss}{FOR_FEW if requested.endswith(FOR_FEW) else ''}"
    return RecipeChoice(name, f"loss={loss} in place of {requested}") if name in known else RecipeChoice(requested, "")


def check_recorded_recipe(data: Mapping[str, Any], known: Collection[str]) -> None:
    """Raises UsageError if a config names an unknown recipe, or if another recipe than the one named set its values."""
    requested, used = data[GROUP], data[USED_KEY]
    for key, name, names in ((GROUP, requested, known), (USED_KEY, used, [name for name in known if name != AUTO])):
        if name not in names:
            raise UsageError(
                f"{key}={one_line(name, 60)}: expected one of {', '.join(names)}{did_you_mean(name, names)}"
            )
    if requested != AUTO and used not in (requested, recipe_variant(requested, data, known).name):
        raise UsageError(
            f"recipe={requested}: this Config has the values of recipe={used}; give a list or mapping of keys with"
            f" recipe={requested}, which sets its own"
        )


def reset_unusable_keys(data: dict[str, Any], bare: Mapping[str, Any], named: Collection[str]) -> list[str]:
    """Gives each key of `data` that a recipe set without use the value in `bare`, and returns these dotted keys.

    `bare` is the config without a recipe. `named` are the keys that the user set; these keys are kept.
    """
    dropped = []
    for dependent, needed in REQUIRED_KEYS.items():
        section, leaf = dependent.split(".")
        if not isinstance(data[section], dict):  # parsing will refuse it
            continue
        used = data[section].get(needed.partition(".")[2])
        if not used and dependent not in named and data[section].get(leaf) != bare[section].get(leaf):
            data[section][leaf] = bare[section].get(leaf)
            dropped.append(dependent)
    return dropped


def _facts(data: Mapping[str, Any]) -> Facts | None:
    """Returns the facts of a composed config; None if its section `dataset` or its `image_size` is invalid."""
    section = data["dataset"]
    table = DATASET_OPTIONS.get(section.get("name"))
    if table is None:
        return None
    try:
        options = parse(table, section)
        size = data["image_size"]
        shape = options.sample_shape(tuple(size) if isinstance(size, list) else size)
    except (UsageError, TypeError, ValueError):
        return None
    if not all(isinstance(side, int) for side in shape):
        return None
    return Facts(shape, count_samples(options), str((data.get("loss") or {}).get("name")))


def count_samples(options: Any) -> int | None:
    """Returns the number of samples that a run reads from a data set; None if reading is needed to know the number."""
    if options.name == "folder":
        from gan_cli.image_labels.attributes import LabelOptions

        keys = ("labels", "labels_file_column", "labels_columns", "labels_bins", "labels_version")
        labelling = LabelOptions(*(getattr(options, key) for key in keys))
        found = _count_in_folder(options.path, options.split, labelling, options.classes, options.follow_links)
    else:
        facts = PUBLISHED.get(options.name, {})
        found = getattr(options, "size", facts.get("samples", {}).get(options.split))
        if found is not None and options.classes is not None:
            balanced = facts.get("balanced")
            each = balanced.get(options.target) if isinstance(balanced, dict) else balanced
            found = None if each is None else found // each * len(options.classes)
    return found if options.limit is None or found is None else min(found, options.limit)


@lru_cache(maxsize=8)  # a command counts more than once
def _count_in_folder(path: Any, split: str, how: Any, classes: tuple[str, ...] | None, links: bool) -> int | None:
    """Returns the number of images at `path`, as `count_images` does, which is imported only for such data."""
    from gan_cli.image_labels.image_paths import count_images

    return count_images(path, split, how, classes, follow_links=links)


def _recipe_for(facts: Facts) -> str:
    """Returns the name of the recipe for these facts."""
    if len(facts.shape) == 1:
        return NONE
    channels, *sides = facts.shape
    side = max(sides)
    if channels == 1 and side <= GREY_SIDE:
        return "grey_least_squares" if facts.loss == LEAST_SQUARES else NONE
    name = "colour_32" if side <= SMALL_SIDE else "colour_64" if side <= MIDDLE_SIDE else "colour_128"
    loss = f"_{WASSERSTEIN}" if facts.loss == WASSERSTEIN else ""  # this loss needs another penalty
    return f"{name}{loss}{FOR_FEW if facts.samples is not None and facts.samples < FEW else ''}"


def _describe(facts: Facts) -> str:
    """Returns the facts in words."""
    samples = "" if facts.samples is None else f"{facts.samples:,} "
    if len(facts.shape) == 1:
        return f"{samples}points and loss={facts.loss}"
    return f"{samples}images of {'x'.join(map(str, facts.shape))} and loss={facts.loss}"


def describe_choice(choice: RecipeChoice) -> str:
    """Returns the line that is printed about a recipe that was chosen by the data."""
    if choice.name == NONE:
        return f"recipe: {NONE}, for {choice.reason}"
    return f"recipe: {choice.name}, for {choice.reason}; recipe={NONE} leaves it out"
