"""`recipe=auto`: the recipe that fits the data and the loss. Imports no torch and decodes no picture."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from gan_cli.config import schema
from gan_cli.config.options import DATASETS
from gan_cli.errors import UsageError, closest, one_line
from gan_cli.image_labels.attributes import Labelling
from gan_cli.image_labels.several import Paths, count_pictures

GROUP = "recipe"
USED = "recipe_used"  # the key under which a run records what `recipe=auto` came to
AUTO, NONE = "auto", "none"
WASSERSTEIN, LEAST_SQUARES = "wasserstein", "least_squares"  # losses that need settings of their own
PUBLISHED = {  # samples of the named data sets, by their split
    "mnist": {"train": 60_000, "test": 10_000},
    "fashion_mnist": {"train": 60_000, "test": 10_000},
    "kmnist": {"train": 60_000, "test": 10_000},
    "cifar10": {"train": 50_000, "test": 10_000},
    "cifar100": {"train": 50_000, "test": 10_000},
    "svhn": {"train": 73_257, "test": 26_032, "extra": 531_131},
    "stl10": {"train": 5_000, "test": 8_000, "unlabeled": 100_000},
    "celeba": {"train": 162_770, "valid": 19_867, "test": 19_962, "all": 202_599},
}
CLASSES = {"fashion_mnist": 10, "kmnist": 10, "cifar10": 10, "cifar100": 100, "stl10": 10}  # of equal size
DEPENDENTS = {"training.ada_target": "training.augment"}  # by a key of recipes, that of its section which it needs
FOR_FEW = "_few"
FEW = 1_000  # samples below which what D sees is augmented
GREY_SIDE, SMALL_SIDE, MIDDLE_SIDE = 40, 40, 80  # pixels up to which a recipe was searched for


class Choice(NamedTuple):
    """A recipe's name, and the facts that it was chosen by, in words."""

    name: str
    reason: str


NO_RECIPE = Choice(NONE, "")


class Facts(NamedTuple):
    """What a recipe is chosen by: the shape of a sample, how many there are (None if that cannot be told), the loss."""

    shape: tuple[int, ...]
    samples: int | None
    loss: str


def choose(data: Mapping[str, Any]) -> Choice:
    """The recipe for a composed config. Data that cannot be read get none; their own error follows later."""
    facts = facts_of(data)
    if facts is None:
        return NO_RECIPE
    return Choice(_named(facts), _described(facts))


def fitting(asked: str, data: Mapping[str, Any], known: Collection[str]) -> Choice:
    """The recipe that was asked for by its name, or its like for the loss, whose penalty is another."""
    loss = str((data.get("loss") or {}).get("name"))
    name = f"{asked.removesuffix(FOR_FEW)}_{loss}{FOR_FEW if asked.endswith(FOR_FEW) else ''}"
    return Choice(name, f"loss={loss} in place of {asked}") if name in known else Choice(asked, "")


def check_whole(data: Mapping[str, Any], known: Collection[str]) -> None:
    """UsageError for a recipe that there is not, or one by its name whose values a whole config does not have."""
    asked, used = data[GROUP], data[USED]
    for key, name, names in ((GROUP, asked, known), (USED, used, [name for name in known if name != AUTO])):
        if name not in names:
            raise UsageError(f"{key}={one_line(name, 60)}: expected one of {', '.join(names)}{closest(name, names)}")
    if asked != AUTO and used not in (asked, fitting(asked, data, known).name):
        raise UsageError(
            f"recipe={asked}: this Config has the values of recipe={used}; give a list or mapping of keys with"
            f" recipe={asked}, which brings its own"
        )


def drop_dependents(data: dict[str, Any], bare: Mapping[str, Any], named: Collection[str]) -> list[str]:
    """Sets what a recipe set, but is of no use as the config is, as it is in `bare`, without a recipe; which keys."""
    dropped = []
    for dependent, needed in DEPENDENTS.items():
        section, leaf = dependent.split(".")
        if not isinstance(data[section], dict):  # refused where the config is parsed
            continue
        used = data[section].get(needed.partition(".")[2])
        if not used and dependent not in named and data[section].get(leaf) != bare[section].get(leaf):
            data[section][leaf] = bare[section].get(leaf)
            dropped.append(dependent)
    return dropped


def facts_of(data: Mapping[str, Any]) -> Facts | None:
    """The facts of the data that a composed config describes; None if its section of the data is wrong."""
    section = data["dataset"]
    table = DATASETS.get(section.get("name"))
    if table is None:
        return None
    try:
        options = schema.parse(table, section)
        size = data["image_size"]
        shape = options.sample_shape(tuple(size) if isinstance(size, list) else size)
    except (UsageError, TypeError, ValueError):
        return None
    if not all(isinstance(side, int) for side in shape):
        return None
    return Facts(shape, count_samples(options), str((data.get("loss") or {}).get("name")))


def count_samples(options: Any) -> int | None:
    """How many samples a run has of a data set; None if that is not known before it is read."""
    if options.name == "folder":
        how = Labelling(
            options.labels,
            options.labels_file_column,
            options.labels_columns,
            options.labels_bins,
            options.labels_version,
        )
        found = _in_folder(options.path, options.split, how, options.classes)
    else:
        found = getattr(options, "size", PUBLISHED.get(options.name, {}).get(options.split))
        if found is not None and options.classes is not None:
            each = CLASSES.get(options.name)
            found = None if each is None else found // each * len(options.classes)
    return found if options.limit is None or found is None else min(found, options.limit)


@lru_cache(maxsize=8)
def _in_folder(path: Paths, split: str, how: Labelling, classes: tuple[str, ...] | None) -> int | None:
    """A command asks more than once."""
    return count_pictures(path, split, how, classes)


def _named(facts: Facts) -> str:
    """The option of the group `recipe` for such data."""
    if len(facts.shape) == 1:
        return NONE
    channels, *sides = facts.shape
    side = max(sides)
    if channels == 1 and side <= GREY_SIDE:
        return "grey_least_squares" if facts.loss == LEAST_SQUARES else NONE
    name = "colour_32" if side <= SMALL_SIDE else "colour_64" if side <= MIDDLE_SIDE else "colour_128"
    loss = f"_{WASSERSTEIN}" if facts.loss == WASSERSTEIN else ""  # whose penalty is another
    return f"{name}{loss}{FOR_FEW if facts.samples is not None and facts.samples < FEW else ''}"


def _described(facts: Facts) -> str:
    samples = "" if facts.samples is None else f"{facts.samples:,} "
    if len(facts.shape) == 1:
        return f"{samples}points and loss={facts.loss}"
    return f"{samples}images of {'x'.join(map(str, facts.shape))} and loss={facts.loss}"


def told(choice: Choice) -> str:
    """What is said of a recipe that was chosen by the data."""
    if choice.name == NONE:
        return f"recipe: {NONE}, for {choice.reason}"
    return f"recipe: {choice.name}, for {choice.reason}; recipe={NONE} leaves it out"
