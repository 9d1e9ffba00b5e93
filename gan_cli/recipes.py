"""`recipe=auto`: the recipe that fits the data and the loss. Imports no torch and decodes no picture."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from gan_cli import schema
from gan_cli.errors import UsageError
from gan_cli.options import DATASETS

GROUP = "recipe"
USED = "recipe_used"  # the key under which a run records what `recipe=auto` came to
AUTO, NONE = "auto", "none"
WASSERSTEIN, LEAST_SQUARES = "wasserstein", "least_squares"  # losses that need settings of their own
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")  # what a folder or zip is read for
JUNK = ("__macosx",)
PUBLISHED = {  # training samples of the named data sets
    "mnist": 60_000,
    "fashion_mnist": 60_000,
    "kmnist": 60_000,
    "cifar10": 50_000,
    "cifar100": 50_000,
    "svhn": 73_257,
    "stl10": 5_000,
    "celeba": 162_770,
}
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
    return Facts(shape, _samples(options), str((data.get("loss") or {}).get("name")))


def _samples(options: Any) -> int | None:
    """How many samples a data set has; None if that is not known before it is read."""
    if options.name == "folder":
        found = count_pictures(os.path.expanduser(options.path))
    else:
        found = getattr(options, "size", PUBLISHED.get(options.name))
    return found if options.limit is None or found is None else min(found, options.limit)


@lru_cache(maxsize=8)
def count_pictures(path: str) -> int | None:
    """Pictures below a folder or in a zip, by their names; None if it cannot be listed."""
    try:
        if os.path.isdir(path):
            return sum(map(_is_picture, _files_below(path)))
        if not os.path.isfile(path):  # a pipe or a device has no end
            return None
        with zipfile.ZipFile(path) as archive:
            return sum(map(_is_picture, archive.namelist()))
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return None


def _files_below(path: str) -> Iterator[str]:
    """Paths below a folder, through links too, into each folder once."""
    seen: set[str] = set()
    for folder, inner, names in os.walk(path, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            inner.clear()
            continue
        seen.add(real)
        yield from (os.path.join(os.path.relpath(folder, path), name) for name in names)


def _is_picture(name: str) -> bool:
    """Whether a file is read as a picture by its name: none that is hidden, nor what an archiver adds."""
    parts = [part for part in re.split(r"[/\\]", name) if part != "."]
    hidden = any(part.startswith(".") or part.lower() in JUNK for part in parts)
    return not hidden and name.lower().endswith(PICTURES)


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
    return f"{name}{loss}{'_few' if facts.samples is not None and facts.samples < FEW else ''}"


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
