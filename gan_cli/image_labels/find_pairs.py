"""Finds pairs: a source image and the image made from it, of the same name in two sub-folders, or in one file."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from gan_cli.errors import GanCliError, UsageError, count_noun, first_few, one_line
from gan_cli.image_files import formats
from gan_cli.image_files.listing import ListedFile, Listing
from gan_cli.image_labels.attributes import NO_TABLE, LabelOptions
from gan_cli.image_labels.folder_classes import SPLIT_NAMES, SPLITS, Layout
from gan_cli.image_labels.image_paths import ImageReader, Paths, open_images

AUTO, SIDE_BY_SIDE, NONE = "auto", "side_by_side", "none"  # values of dataset.pairs
A_TO_B = "AtoB"
SIDES = ("A", "B")
SPLIT_AND_SIDE = re.compile(r"((?i:train|test|val|valid|validation))([AB])")  # trainA, as in CycleGAN's data sets
NO_SUB_FOLDERS = "no sub-folders A and B"
KNOWN_LAYOUTS = (
    "known are sub-folders A and B with images of the same names, trainA and trainB, or train/A and train/B, and"
    " dataset.pairs=side_by_side for files with source and target side by side"
)


class PairOptions(NamedTuple):
    """The keys `dataset.pairs` and `dataset.direction`."""

    kind: str = NONE
    direction: str = A_TO_B


class Pairs(NamedTuple):
    """The pairs of a split. `layout` has the images that are generated, `sources` the source image of each."""

    layout: Layout
    sources: Sequence[ListedFile]
    names: tuple[str, str]  # of the folders of sources and of generated images, or of the halves of a file
    side_by_side: bool = False  # each file holds both images
    alone: tuple[ListedFile, ...] = ()  # images without a partner, which are left out

    @property
    def files(self) -> list[ListedFile]:
        """All files: those of the sources, then those of the generated images, if they are others."""
        return [*self.sources, *(() if self.side_by_side else self.layout.files)]

    def describe_alone(self) -> str:
        """Returns how many images have no partner, with the names of some; an empty text if all have one."""
        if not self.alone:
            return ""
        named = first_few([file.name for file in self.alone], 3)
        return f"{len(self.alone):,} without a partner {'is' if len(self.alone) == 1 else 'are'} left out ({named})"


def find_pairs(reader: ImageReader, how: LabelOptions, split: str, options: PairOptions) -> Pairs | None:
    """Returns the pairs of a split, or None if there are none.

    Raises UsageError if the training images are pairs and those of the split are not, or if a name is there twice.
    """
    if options.kind == NONE:
        return None
    if options.kind == SIDE_BY_SIDE:
        layout = reader.read_layout(how, split)
        return Pairs(layout, layout.files, halves_of(options), side_by_side=True)
    found = _search(reader, how, split, options.direction)
    return None if isinstance(found, str) else found


def halves_of(options: PairOptions) -> tuple[str, str]:
    """Returns the halves of a file that are the source image and the generated image."""
    return ("left", "right") if options.direction == A_TO_B else ("right", "left")


def why_no_pairs(reader: ImageReader, how: LabelOptions, options: PairOptions) -> str:
    """Returns why `find_pairs` finds no pairs among the training images; an empty text if it finds some."""
    if options.kind == SIDE_BY_SIDE:
        return ""
    if options.kind == NONE:
        return "no pairs are sought with dataset.pairs=none"
    found = _search(reader, how, "train", options.direction)
    return found if isinstance(found, str) else ""


def count_pairs(path: Paths, how: LabelOptions, split: str, options: PairOptions, *, follow_links: bool) -> int | None:
    """Returns the number of pairs in sub-folders of `path`, without decoding them.

    Returns None if there are none, if they cannot be read, or if pairs are side by side, so that files are counted.
    """
    if options.kind != AUTO:
        return None
    try:
        with open_images(path, follow_links=follow_links) as reader:
            found = find_pairs(reader, how, split, options)
    except (GanCliError, OSError, ValueError):
        return None
    return None if found is None else len(found.sources)


class _Position(NamedTuple):
    """Where an image lies: its split ("" without splits), A or B, the folder, and the rest of its path."""

    split: str
    side: str
    folder: str
    rest: tuple[str, ...]


class _Sides(NamedTuple):
    """The images of a split in A and in B by the rest of their paths, without suffix."""

    folders: tuple[str, str]
    images: tuple[dict[tuple[str, ...], ListedFile], dict[tuple[str, ...], ListedFile]]
    twice: tuple[ListedFile, ListedFile] | None  # the first two files of the same name in one folder


def _search(reader: ImageReader, how: LabelOptions, split: str, direction: str) -> Pairs | str:
    """Returns the pairs in sub-folders, or why there are none. Raises UsageError as `find_pairs`."""
    listing = reader.listing
    if not reader.is_single:
        return "pairs are sought in a single path, not in several"
    if how.table not in (None, NO_TABLE):
        return f"no pairs of folders are sought with dataset.labels={one_line(how.table, 60)}"
    positions = _positions(listing)
    if isinstance(positions, str):
        return positions
    train = _sides(listing, positions, "train")
    if train is None:
        return "A and B have no training images"
    if problem := _unpaired(train):
        return problem
    if split == "train":
        return _pairs(listing, train, direction)
    sides = _sides(listing, positions, split)
    if sides is None:
        raise UsageError(f"dataset.split={split}: no testA and testB, nor test/A and test/B, in {listing.shown}")
    if problem := _unpaired(sides):
        raise UsageError(f"dataset.split={split}: {problem} ({listing.shown})")
    return _pairs(listing, sides, direction)


def _positions(listing: Listing) -> list[_Position] | str:
    """Returns the position of each file, or why they are not in A and B."""
    paths, depth = [file.parts for file in listing.files], 0
    while not any(found := [_position(path[depth:]) for path in paths]):
        depth += 1  # a folder around all images, as archives have it
        if not all(len(path) > depth for path in paths) or len({path[:depth] for path in paths}) != 1:
            return NO_SUB_FOLDERS
    splits = any(position is not None and position.split for position in found)
    positions = [position for position in found if position is not None and (position.split or not splits)]
    if len(positions) == len(paths):
        return positions
    outside = [
        file
        for file, position in zip(listing.files, found, strict=True)
        if position is None or (splits and not position.split)
    ]
    return f"{count_noun(len(outside), 'image')} outside of A and B, as {outside[0].name}"


def _position(path: tuple[str, ...]) -> _Position | None:
    """Returns the position of an image in one of the known layouts, or None."""
    first, second = path[0], path[1] if len(path) > 2 else ""
    if len(path) > 1 and (match := SPLIT_AND_SIDE.fullmatch(first)):
        return _Position(match[1].lower(), match[2], first, path[1:])
    if first.lower() in SPLIT_NAMES and second in SIDES:
        return _Position(first.lower(), second, f"{first}/{second}", path[2:])
    if first in SIDES and second.lower() in SPLIT_NAMES:
        return _Position(second.lower(), first, f"{first}/{second}", path[2:])
    return _Position("", first, first, path[1:]) if first in SIDES and len(path) > 1 else None


def _without_suffix(path: tuple[str, ...]) -> tuple[str, ...]:
    suffix = formats.suffix_of(path[-1])
    known = suffix in formats.READ_SUFFIXES or suffix in formats.UNREAD_IMAGE_SUFFIXES or suffix == ".npy"
    stem = path[-1][: len(path[-1]) - len(suffix)] if known else path[-1]
    return tuple(unicodedata.normalize("NFC", part) for part in (*path[:-1], stem))


def _sides(listing: Listing, positions: Sequence[_Position], split: str) -> _Sides | None:
    """Returns the images of a split in A and B, or None if there are none."""
    splits = {position.split for position in positions}
    names = ("",) if splits == {""} and split == "train" else SPLITS[split]
    wanted = next((name for name in names if name in splits), None)
    if wanted is None:
        return None
    images: dict[str, dict[tuple[str, ...], ListedFile]] = {side: {} for side in SIDES}
    folders, twice = {side: side for side in SIDES}, None
    for file, position in sorted(zip(listing.files, positions, strict=True), key=lambda each: each[0].parts):
        if position.split == wanted:
            folders[position.side] = position.folder
            first = images[position.side].setdefault(_without_suffix(position.rest), file)
            twice = twice or (None if first is file else (first, file))
    return _Sides((folders["A"], folders["B"]), (images["A"], images["B"]), twice)


def _unpaired(sides: _Sides) -> str:
    """Returns why the images are no pairs: fewer than half of those of the smaller folder have a partner."""
    named = sorted(zip(sides.images, sides.folders, ("A", "B"), strict=True), key=lambda each: len(each[0]))
    (few, folder, side), (many, other, _) = named
    if not few:
        return f"{count_noun(len(many), 'image')} in {one_line(other, 40)} and none in a folder {side} beside it"
    common = few.keys() & many.keys()
    if 2 * len(common) >= len(few):
        return ""
    shown = f"only {len(common):,}" if common else "none"
    return (
        f"missing pair: {shown} of {count_noun(len(few), 'image')} in {folder} has a partner of the same name in"
        f" {other}, as {few[min(few.keys() - common)].name}"
    )


def _pairs(listing: Listing, sides: _Sides, direction: str) -> Pairs:
    """Returns the pairs of images of the same name. Raises UsageError if a folder has a name twice."""
    if sides.twice is not None:
        one, other = (file.name for file in sides.twice)
        raise UsageError(
            f"dataset.path={listing.shown}: {one} and {other} have the same name but for the suffix, so that their"
            " pair is unclear; remove one, or take A and B as classes by dataset.pairs=none"
        )
    order = 1 if direction == A_TO_B else -1
    (sources, generated), names = sides.images[::order], sides.folders[::order]
    common = sources.keys() & generated.keys()
    alone = [file for images in sides.images for key, file in images.items() if key not in common]
    keys = sorted(common)
    layout = Layout([generated[key] for key in keys])
    return Pairs(layout, [sources[key] for key in keys], (names[0], names[1]), alone=tuple(alone))
