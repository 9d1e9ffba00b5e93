"""Two folders or zips of pictures, real and made, as the data sets that an evaluation is of."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from gan_cli.config import schema
from gan_cli.config.options.datasets import Folder
from gan_cli.data.dataset import Dataset
from gan_cli.data.decoding.decoding import measured
from gan_cli.data.decoding.images import crop_box
from gan_cli.data.folder import NO_CACHE
from gan_cli.data.load_dataset import build_dataset
from gan_cli.errors import GanCliError, UsageError, counted, few, one_line
from gan_cli.evaluation.metrics.doubles import count_shared, digests
from gan_cli.evaluation.real_data import Real, find_real
from gan_cli.image_files.listing import BadPicture
from gan_cli.image_labels.attributes import VERSION
from gan_cli.image_labels.several import Pictures, pictures_at

LOOKED_AT = 500  # pictures whose size and colour say what all are brought to
LARGEST = 128  # pixels of a side, unless the user says more
LARGEST_OF_INCEPTION = 1024  # which sees pictures at their own size, as papers have it
MOST_REAL = 50_000  # real pictures that are read, unless more are asked for
SIZES_TOLD = 3

Size = int | tuple[int, ...]
Sides = tuple[int, int]  # height and width


class Looks(NamedTuple):
    """What the first pictures of a folder say of themselves: how many have which size and are grey; `files` in all."""

    key: str
    sizes: Counter[Sides]
    grey: int
    files: int

    @property
    def usual(self) -> Sides:
        return self.sizes.most_common(1)[0][0] if self.sizes else (64, 64)  # none can be read, as the data set will say

    @property
    def seen(self) -> int:
        return self.sizes.total()


class Folders(NamedTuple):
    """The real side, and the fakes; `said` are lines about them, `fakes` how many there are to choose from."""

    real: Real
    made: Dataset
    said: list[str]
    fakes: int


def read_folders(
    real: str, fake: str, image_size: Size | None, n: int, *, extractor: str = "auto", n_real: int | None = None
) -> Folders:
    """The real side, and `n` of the fakes or as many as there are, all brought to one size.

    That is the fakes', or the real pictures' in the fakes' proportions if these are smaller, unless the user says it. A
    sub-folder `test` beside `train` is held out; sub-folders are classes. UsageError names the key at fault.
    """
    looks = _looks("real", real), _looks("fake", fake)
    size, why = _size_of(*looks, image_size, LARGEST_OF_INCEPTION if extractor == "inception" else LARGEST)
    channels = 1 if looks[0].seen and looks[0].grey == looks[0].seen else 3
    known = _section(real, channels, max(MOST_REAL, n_real or 0))
    dataset = _build("real", known, size)
    made = _build("fake", _section(fake, channels, n), size)
    used = dataset.value_range
    if used is not None and made.value_range not in (None, used):  # both are deep: one range is for both
        made = _build("fake", _section(fake, channels, n, used), size)
    known = dataclasses.replace(known, limit=None, value_range=used or known.value_range)
    found = find_real(known, size, dataset)
    said = [f"real: {dataset.source}", f"fake: {made.source}"]
    said += [f"size: compared at {_shown(size)} (height x width), {why}", *_brought(looks, size)]
    said += [*_colours(looks, channels), *_classes(dataset, made), *_the_same(real, fake, found, made, size)]
    return Folders(found, made, said, looks[1].files)


def _section(path: str, channels: int, limit: int, value_range: str | tuple[float, ...] = "auto") -> Folder:
    section = {
        "name": "folder", "path": path, "limit": limit, "classes": None, "split": "train", "flip": False,
        "image_channels": channels, "background": "white", "labels": None, "labels_version": VERSION,
        "cache": NO_CACHE, "on_bad": "error", "value_range": value_range,
    }  # fmt: skip
    folder: Folder = schema.parse(Folder, section, "dataset")
    return folder


def _build(key: str, section: Folder, size: Sides) -> Dataset:
    try:
        return build_dataset(section, size)
    except GanCliError as error:
        raise type(error)(str(error).replace("dataset.path", key)) from None


# --- their sizes -------------------------------------------------------------------------------------------------


def _looks(key: str, path: str) -> Looks:
    try:
        with pictures_at(path) as reader:
            files = len(reader.listing.files)
            headers = list(_headers(reader))
    except GanCliError as error:
        raise type(error)(str(error).replace("dataset.path", key)) from None
    grey = sum(grey for _, grey in headers)
    return Looks(key, Counter(sides for sides, _ in headers), grey, files)


def _headers(reader: Pictures) -> Iterator[tuple[Sides, bool]]:
    """(height, width) and whether it is grey, of each of the first pictures that can be opened."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for file in reader.listing.files[:LOOKED_AT]:
            with contextlib.suppress(BadPicture):
                yield measured(reader.picture(file))


def _size_of(real: Looks, fake: Looks, asked: Size | None, most: int) -> tuple[Sides, str]:
    """What all are brought to, (height, width), and why."""
    if asked is not None:
        height, width = (asked, asked) if isinstance(asked, int) else asked
        return (height, width), "as image_size says"
    height, width = fake.usual
    *_, cut_height, cut_width = crop_box(*real.usual, fake.usual)
    factor, why = min(cut_height / height, cut_width / width), "that of the real pictures, in the fakes' proportions"
    if factor >= 1:
        factor, why = 1.0, "that of the fakes"
    bound = most / (factor * max(height, width))
    if bound < 1:
        factor, why = factor * bound, f"as sides are at most {most} pixels unless image_size= says more"
    return (max(4, round(height * factor)), max(4, round(width * factor))), why


def _shown(sides: Sides) -> str:
    return f"{sides[0]} x {sides[1]}"


def _brought(looks: tuple[Looks, Looks], size: Sides) -> list[str]:
    """A line for each folder whose pictures are changed for that: how many were cut, shrunk and enlarged."""
    lines = []
    for look in looks:
        cut = shrunk = enlarged = 0
        lost = 0.0
        for sides, count in look.sizes.items():
            *_, height, width = crop_box(*sides, size)
            if (height, width) != sides:
                cut, lost = cut + count, lost + count * (1 - height * width / (sides[0] * sides[1]))
            shrunk += count * (height > size[0] or width > size[1])
            enlarged += count * (height < size[0] or width < size[1])
        done = [f"{cut:,} cut to these proportions ({lost / cut:.0%} of each lost)"] if cut else []
        done += [f"{count:,} {said}" for count, said in ((shrunk, "shrunk"), (enlarged, "enlarged")) if count]
        if done:
            of = f" (of the first {look.seen:,})" if look.seen < look.files else ""
            lines.append(f"size: {look.key}: {_told(look.sizes)}{of}; {', '.join(done)}")
    return lines


def _told(sizes: Counter[Sides]) -> str:
    told = [f"{count:,} of {_shown(sides)}" for sides, count in sizes.most_common(SIZES_TOLD)]
    others = len(sizes) - SIZES_TOLD
    return ", ".join(told) + (f" and {counted(others, 'other size')}" if others > 0 else "")


# --- what else they differ in, or do not --------------------------------------------------------------------------


def _colours(looks: tuple[Looks, Looks], channels: int) -> list[str]:
    _, fake = looks
    coloured = fake.seen - fake.grey
    if channels == 1 and coloured:
        return [f"warning: {coloured:,} fakes have colours and are turned grey, as the real pictures are"]
    if channels == 3 and fake.seen and not coloured:
        return ["warning: the fakes are grey, the real pictures are not"]
    return []


def _classes(real: Dataset, made: Dataset) -> list[str]:
    """Of sub-folders on both sides, those that the other side lacks."""
    if any(data.labels is None or data.labels.ndim > 1 for data in (real, made)):
        return []
    lines = []
    for key, some, others in (("fake", made, real), ("real", real, made)):
        foreign = [name for name in some.classes if name not in others.classes]
        if foreign:
            lacking = "real" if key == "fake" else "fake"
            lines.append(
                f"warning: {key} has {few([one_line(name, 40) for name in foreign], 5)}, which {lacking} has not"
            )
    return lines


def _the_same(real: str, fake: str, found: Real, made: Dataset, size: Sides) -> list[str]:
    """A warning if fakes are real pictures."""
    if os.path.realpath(os.path.expanduser(real)) == os.path.realpath(os.path.expanduser(fake)):
        return [f"warning: real and fake are the same folder, {one_line(fake)}: the figures are of real pictures"]
    sides = [data.samples for data in (found.whole, found.held_out) if data is not None]
    known, mine = [digests(samples) for samples in sides], digests(made.samples)
    shared = 0 if mine is None else count_shared(mine, [each for some in known for each in some or ()])
    if not shared:
        return []
    return [f"warning: {shared:,} of {len(made):,} fakes are real pictures, the same in each pixel at {_shown(size)}"]


def check_folders(real: str | None, fake: str | None) -> tuple[str, str]:
    """Both; UsageError if one is missing."""
    if real is None or fake is None:
        missing, given = ("real", f"fake={fake}") if real is None else ("fake", f"real={real}")
        raise UsageError(f"{missing} is missing: {given} is to be compared with another folder, set {missing}=...")
    return real, fake
