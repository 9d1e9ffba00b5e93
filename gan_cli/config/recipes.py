"""Chooses a recipe (an option that sets many keys) by the data and the loss. Imports no torch, decodes no image."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from gan_cli.config.options.published_datasets import DATASET_OPTIONS, PUBLISHED
from gan_cli.config.options.tasks import WITH_IMAGE
from gan_cli.config.validation import parse
from gan_cli.errors import UsageError, did_you_mean, one_line

GROUP = "recipe"
USED_KEY = "recipe_used"  # the key in which a run records the recipe that was chosen
AUTO, NONE = "auto", "none"
WASSERSTEIN, LEAST_SQUARES, RELATIVISTIC = "wasserstein", "least_squares", "relativistic"  # have recipes of their own
ADA_TARGET, AUGMENT = "training.ada_target", "training.augment"  # recipes set the first, which needs the second
FOR_FEW = "_few"
FEW = 1_000  # below this number of samples, D's input is augmented
GREY_SIDE, SMALL_SIDE, MIDDLE_SIDE = 40, 40, 80  # largest side in pixels of each recipe


class RecipeChoice(NamedTuple):
    """The name of a recipe, and a text that says why this recipe was chosen."""

    name: str
    reason: str


NO_RECIPE = RecipeChoice(NONE, "")


def choose_recipe(data: Mapping[str, Any]) -> RecipeChoice:
    """Returns the recipe for a composed config.

    That is "none" if `dataset` or `image_size` is invalid, for which parsing raises the error.
    """
    table = DATASET_OPTIONS.get(data["dataset"].get("name"))
    if table is None:
        return NO_RECIPE
    try:
        options = parse(table, data["dataset"])
        size = data["image_size"]
        shape = options.sample_shape(tuple(size) if isinstance(size, list) else size)
    except (UsageError, TypeError, ValueError):
        return NO_RECIPE
    if not all(isinstance(side, int) for side in shape):
        return NO_RECIPE
    count, loss = count_samples(options), _loss_of(data)
    samples = "" if count is None else f"{_about(options, count)}{count:,} "
    kind = "points" if len(shape) == 1 else f"images of {'x'.join(map(str, shape))}"
    task = (data.get("task") or {}).get("name")
    if task in WITH_IMAGE:  # the recipes are those of generators from noise; the task's file has its own settings
        return RecipeChoice(NONE, f"{samples}{kind} and task={task}")
    if count is None and hasattr(options, "path"):
        kind += " (how many is not known before they are read)"
    return RecipeChoice(_recipe_for(shape, count, loss), f"{samples}{kind} and loss={loss}")


def _about(options: Any, count: int) -> str:
    """Returns how exact the number of samples is: shards are counted up to FEW, and bad images are found later."""
    if options.name == "webdataset" and count == FEW:
        return "at least "
    return "up to " * (getattr(options, "on_bad", "") == "skip")


def _loss_of(data: Mapping[str, Any]) -> str:
    return str((data.get("loss") or {}).get("name"))


def recipe_variant(requested: str, data: Mapping[str, Any], known: Collection[str]) -> RecipeChoice:
    """Returns the recipe `requested`, or its variant, with another penalty, for the loss in `data` if it is `known`."""
    loss = _loss_of(data)
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


def reset_unused_target(data: dict[str, Any], bare: Mapping[str, Any], named: Collection[str]) -> bool:
    """Gives ADA_TARGET the value in `bare`, the config without a recipe, if nothing is augmented.

    Returns whether it had another value. One of the keys `named`, which the user set, is kept.
    """
    training = data["training"]
    if not isinstance(training, dict) or training["augment"] or ADA_TARGET in named:  # if no dict, parsing refuses it
        return False
    before, training["ada_target"] = training["ada_target"], bare["training"]["ada_target"]
    return bool(before != training["ada_target"])


def count_samples(options: Any) -> int | None:
    """Returns the number of samples that a run reads from a data set; None if reading is needed to know the number."""
    if options.name in ("folder", "webdataset"):
        from gan_cli.image_labels.count_samples import count_own

        found = count_own(options, FEW)
    else:
        facts = PUBLISHED.get(options.name, {})
        found = getattr(options, "size", facts.get("samples", {}).get(options.split))
        if found is not None and options.classes is not None:
            balanced = facts.get("balanced")
            each = balanced.get(options.target) if isinstance(balanced, dict) else balanced
            found = None if each is None else found // each * len(options.classes)
    return found if options.limit is None or found is None else min(found, options.limit)


def _recipe_for(shape: tuple[int, ...], count: int | None, loss: str) -> str:
    """Returns the name of the recipe for samples of this shape. `count` is their number if it is known."""
    if len(shape) == 1:
        return NONE
    side = max(shape[1:])
    if shape[0] == 1 and side <= GREY_SIDE:
        return "grey_least_squares" if loss == LEAST_SQUARES else NONE
    name = "colour_32" if side <= SMALL_SIDE else "colour_64" if side <= MIDDLE_SIDE else "colour_128"
    few = count is not None and count < FEW
    # one of these losses needs another penalty, and with neither the probability of augmentation can adapt
    of_loss = f"_{loss}" if loss == WASSERSTEIN or (few and loss == RELATIVISTIC) else ""
    return f"{name}{of_loss}{FOR_FEW if few else ''}"


def describe_choice(choice: RecipeChoice) -> str:
    """Returns the line that is printed about a recipe that was chosen by the data."""
    way_out = "" if choice.name == NONE else f"; recipe={NONE} leaves it out"
    return f"recipe: {choice.name}, for {choice.reason}{way_out}"
