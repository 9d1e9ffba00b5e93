"""Emoji of one vendor, or pairs of the same emoji by two vendors, drawn from the npm packages `@iconify-json/*`.

Emoji that differ by the person alone, as man, woman and person, are a group. Each group is in one split only.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator
from importlib.metadata import version
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gan_cli.data.dataset import Dataset
from gan_cli.data.folder import cache_entry
from gan_cli.data.image_store import draw_images, find_cached
from gan_cli.errors import UsageError, count_noun, one_line
from gan_cli.extras import require_extra
from gan_cli.image_files.icon_packages import IconPackage, find_package, read_package, read_svgs
from gan_cli.image_files.listing import BadImageError
from gan_cli.image_files.svg import draw_svg
from gan_cli.image_labels.image_paths import Paths, split_paths

VERSION = 1  # version of the choice of emoji and of drawing; cache files of another version are not used
TEST_SHARE = 5  # one of this many groups is in the test split
SKIN_TONE = re.compile("1f3f[b-f]")  # code points that change the colour of the skin; emoji with them are left out
PERSON = {"man", "woman", "person", "men", "women", "people"}
FACING = "-facing-right"  # ending of the name of an emoji that mirrors another


class DrawnPackage(NamedTuple):
    """The emoji of a package: their code points, and their images uint8 `[N, 3, H, W]` in the same order."""

    package: IconPackage
    codes: list[str]
    drawn: Dataset


def build_emoji(
    *, vendor: str, path: Paths, background: str, split: str, cache: str, image_size: tuple[int, int]
) -> Dataset:
    """Returns the emoji of a vendor, uint8 `[N, 3, H, W]`. The labels, int64 `[N]`, are their categories."""
    require_extra("emoji", "dataset=emoji")
    own = _draw_package(path, vendor, background, cache, image_size)
    rows = _rows_of_split([own.drawn.samples], own.package, own.codes, split)
    dataset = _with_categories(own.package, [own.codes[row] for row in rows], own.drawn.samples[rows])
    return dataclasses.replace(
        dataset,
        source=f"{count_noun(len(rows), 'emoji', 'emoji')} of {_title(own.package)} ({split}) from {_shown(path)}",
        notes=(f"licence: {_licence(own.package)}", *own.drawn.notes),
        changes={"licences": [_licence(own.package)]},
    )


def build_emoji_pairs(
    *, source: str, target: str, path: Paths, background: str, split: str, cache: str, image_size: tuple[int, int]
) -> Dataset:
    """Returns the emoji that two vendors have: `sources` by `source`, samples by `target`, uint8 `[N, 3, H, W]`.

    The labels, int64 `[N]`, are the categories of the sources.
    """
    require_extra("emoji", "dataset=emoji_pairs")
    first, second = (_draw_package(path, vendor, background, cache, image_size) for vendor in (source, target))
    common = sorted({*first.codes} & {*second.codes})
    if not common:
        raise UsageError(f"dataset.path={_shown(path)}: the packages of {source} and {target} have no emoji in common")
    sources, samples = (each.drawn.samples[[each.codes.index(code) for code in common]] for each in (first, second))
    rows = _rows_of_split([sources, samples], first.package, common, split)
    dataset = _with_categories(first.package, [common[row] for row in rows], samples[rows])
    licences = [_licence(each.package) for each in (first, second)]
    return dataclasses.replace(
        dataset,
        sources=sources[rows],
        source=f"{count_noun(len(rows), 'pair')} of {_title(first.package)} and {_title(second.package)} ({split}) from"
        f" {_shown(path)}",
        notes=(*(f"licence: {each}" for each in licences), *first.drawn.notes, *second.drawn.notes),
        changes={"licences": licences},
    )


def _draw_package(path: Paths, vendor: str, background: str, cache: str, image_size: tuple[int, int]) -> DrawnPackage:
    """Returns the emoji of a vendor without skin tones, in the order of their code points."""
    package = read_package(find_package(split_paths(path), vendor))
    codes = [code for code in package.names if not SKIN_TONE.search(code)]
    settings = (vendor, background, image_size, version("resvg-py"))
    entry = cache_entry(cache, [str(package.path)], (), "emoji", VERSION, *settings)
    drawn = find_cached(entry)
    if drawn is None or drawn.labels is None or drawn.labels.max() >= len(codes):
        positions: list[int] = []
        drawn = draw_images(
            entry,
            _drawn(package, codes, positions, background, image_size),
            (len(codes), 3, *image_size),
            # The labels in the cache file are positions in `codes`.
            lambda samples: Dataset(samples, source=_title(package), labels=torch.tensor(positions)),
        )
    assert drawn.labels is not None
    return DrawnPackage(package, [codes[position] for position in drawn.labels.tolist()], drawn)


def _drawn(
    package: IconPackage, codes: list[str], positions: list[int], background: str, image_size: tuple[int, int]
) -> Iterator[np.ndarray]:
    """Yields the images of `codes` that the package has, uint8 `[3, H, W]`, and appends their positions in `codes`."""
    position_of = {package.names[code]: position for position, code in reversed([*enumerate(codes)])}
    for name, svg in read_svgs(package, position_of):
        try:
            image = draw_svg(svg, image_size, background)
        except BadImageError as error:
            raise UsageError(f"dataset.path={one_line(package.path)}: {name} {error}; get the package again") from None
        positions.append(position_of[name])
        yield image
    if not positions:
        raise UsageError(f"dataset.path={one_line(package.path)}: has no images of its emoji; get the package again")


# --- splits and labels -------------------------------------------------------------------------------------------


def group_of(name: str) -> str:
    """Returns the name of an emoji without the words for the person: `health-worker` for `woman-health-worker`."""
    return "-".join(word for word in name.removesuffix(FACING).split("-") if word not in PERSON)


def is_test(group: str) -> bool:
    """Returns whether a group is in the test split, which depends on its name alone."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") % TEST_SHARE == 0


def _rows_of_split(images: list[Tensor], package: IconPackage, codes: list[str], split: str) -> list[int]:
    """Returns the rows of a split in `images`, each `[N, 3, H, W]`, without rows that repeat those of another emoji.

    Vendors draw some emoji of different names alike. A row with an image of the test split is not in the training data.
    """
    shown = [[each[row].numpy().tobytes() for each in images] for row in range(len(codes))]
    different = {tuple(pixels): row for row, pixels in reversed([*enumerate(shown)])}
    rows = sorted(different.values())
    test = [row for row in rows if is_test(group_of(package.names[codes[row]]))]
    if split == "test":
        rows = test
    else:
        held_out = {pixels for row in test for pixels in shown[row]}
        rows = [row for row in rows if held_out.isdisjoint(shown[row])]
    if not rows:
        raise UsageError(f"dataset.split={split}: {package.title} in dataset.path has no emoji of this split")
    return rows


def _with_categories(package: IconPackage, codes: list[str], samples: Tensor) -> Dataset:
    """Returns the samples labelled by category: `food` for `Food & Drink`. -1 means unknown."""
    classes = sorted({*map(_class_of, package.categories.values())})
    named = [package.categories.get(package.names[code]) for code in codes]
    labels = [-1 if category is None else classes.index(_class_of(category)) for category in named]
    return Dataset(samples, "", labels=torch.tensor(labels) if classes else None, classes=tuple(classes))


def _class_of(category: str) -> str:
    """Returns the first word of a category, in small letters."""
    words = re.findall("[a-z0-9]+", category.lower())
    return words[0] if words else "other"


# --- texts -------------------------------------------------------------------------------------------------------


def _title(package: IconPackage) -> str:
    return f"{package.title} {package.version}".strip()


def _licence(package: IconPackage) -> str:
    return f"{package.licence}; {package.title} by {package.author or 'an unknown author'}"


def _shown(path: Paths) -> str:
    return one_line(",".join(split_paths(path)), 200)
