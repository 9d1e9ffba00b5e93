"""Reads two folders or zips for an evaluation, one of real and one of generated images, and gives all one size."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
from collections import Counter
from typing import Any, NamedTuple

from gan_cli.config.commands import EvalConfig
from gan_cli.config.metric_names import OF_IMAGENET
from gan_cli.config.options.datasets import CROP, Folder
from gan_cli.config.validation import parse
from gan_cli.data.dataset import Dataset
from gan_cli.data.decoding.crop_and_pad import PAD, STRETCH, compute_fit
from gan_cli.data.decoding.decode import read_header
from gan_cli.data.decoding.resize import crop_box
from gan_cli.data.folder import NO_CACHE
from gan_cli.data.load_dataset import build_dataset
from gan_cli.errors import count_noun, one_line, reworded
from gan_cli.evaluation.metrics.duplicates import count_shared, image_digests
from gan_cli.evaluation.real_data import RealData, find_real_data, list_names
from gan_cli.image_files.listing import BadImageError
from gan_cli.image_labels.attributes import VERSION
from gan_cli.image_labels.image_paths import open_images

MEASURED = 500  # the size and colour of this many images of a folder are read, to choose the common size
MAX_SIDE = 128  # largest side in pixels, unless image_size is larger
MAX_IMAGENET_SIDE = 1024  # the same with extractors that resize the images themselves
MAX_REAL = 50_000  # largest number of real images that are read, unless n_real is larger
LISTED_SIZES = 3  # sizes of a folder that are listed for the user

Size = int | tuple[int, ...]
Sides = tuple[int, int]  # height and width


class FolderSummary(NamedTuple):
    """What is known about the images of a folder.

    `sizes` counts the sizes of the first MEASURED images. `grey` is the number of grey images among these. `files` is
    the number of all images in the folder.
    """

    sizes: Counter[Sides]
    grey: int
    files: int

    @property
    def usual(self) -> Sides:
        """The most frequent size, or (64, 64) if no image could be read."""
        return self.sizes.most_common(1)[0][0] if self.sizes else (64, 64)  # unreadable: building the data set fails

    @property
    def measured(self) -> int:
        return self.sizes.total()


class Folders(NamedTuple):
    """The real data and the fakes. `lines` are lines for the user. `fake_files` is the number of images in `fake`."""

    real: RealData
    fake: Dataset
    lines: list[str]
    fake_files: int


def read_folders(options: EvalConfig, n: int) -> Folders:
    """Reads the real images and at most `n` fakes of `gan-eval`, brings all of them to one size, and returns them.

    This size is `image_size` if it is given. By default it is the size of the fakes. If the real images are smaller, it
    is the largest size that fits in the real images and has the aspect ratio of the fakes. `fit` says how images of
    another aspect ratio are changed: crop, pad or stretch. If `real` has the sub-folders `train` and `test`, the images
    of `test` are held out. Other sub-folders are classes. Errors name the option that is wrong, `real` or `fake`.
    """
    real, fake, fit = options.real, options.fake, options.fit
    assert real is not None
    assert fake is not None
    summaries = _summarize("real", real, options.follow_links), _summarize("fake", fake, options.follow_links)
    max_side = MAX_IMAGENET_SIDE if options.extractor in OF_IMAGENET else MAX_SIDE
    size, why = _common_size(*summaries, options.image_size, max_side)
    channels = 1 if summaries[0].measured and summaries[0].grey == summaries[0].measured else 3
    section = _section(options, real, channels, max(MAX_REAL, options.n_real or 0))
    with reworded(_with_own_keys, "real"):
        dataset = build_dataset(section, size)
    used: Any = dataset.value_range
    with reworded(_with_own_keys, "fake"):
        fakes = build_dataset(_section(options, fake, channels, n), size)
        if used is not None and fakes.value_range not in (None, used):  # more than 8 bits: both need the same range
            fakes = build_dataset(_section(options, fake, channels, n, used), size)
    section = dataclasses.replace(section, limit=None, value_range=used or section.value_range)
    found = find_real_data(section, size, dataset)
    lines = [
        f"real: {_with_own_keys(dataset.source, 'real')}",
        f"fake: {_with_own_keys(fakes.source, 'fake')}",
        f"size: compared at {_size_text(size)} (height x width), {why}",
        *_resize_lines(summaries, size, fit),
        *_colour_lines(summaries[1], channels),
        *_class_lines(dataset, fakes),
        *_overlap_lines(real, fake, found, fakes, size),
    ]
    return Folders(found, fakes, lines, summaries[1].files)


def _section(
    options: EvalConfig, path: str, channels: int, limit: int, value_range: str | tuple[float, ...] = "auto"
) -> Folder:
    section = {
        "name": "folder", "path": path, "limit": limit, "classes": None, "split": "train", "flip": False,
        "image_channels": channels, "fit": options.fit, "background": "white", "labels": None,
        "labels_version": VERSION, "cache": NO_CACHE, "on_bad": "error", "value_range": value_range,
        "follow_links": options.follow_links, "max_pixels": options.max_pixels,
    }  # fmt: skip
    folder: Folder = parse(Folder, section, "dataset")
    return folder


def _with_own_keys(text: str, key: str) -> str:
    """Returns the text with the options of gan-eval in place of those of a data set."""
    text = text.replace("dataset.path", key).replace(", or set dataset.on_bad=skip", "")
    return text.replace("dataset.follow_links", "follow_links").replace("dataset.max_pixels", "max_pixels")


# --- their sizes -------------------------------------------------------------------------------------------------


def _summarize(key: str, path: str, follow_links: bool) -> FolderSummary:
    headers = []
    with reworded(_with_own_keys, key), open_images(path, follow_links=follow_links) as reader:
        files = reader.listing.files
        for file in files[:MEASURED]:
            with contextlib.suppress(BadImageError):
                headers.append(read_header(reader.read_image(file)))
    grey = sum(each.colours == "grey" for each in headers)
    return FolderSummary(Counter(each.sides for each in headers), grey, len(files))


def _common_size(real: FolderSummary, fake: FolderSummary, requested: Size | None, max_side: int) -> tuple[Sides, str]:
    """Returns the size (height, width) that all images are brought to, and the reason for it in words."""
    if requested is not None:
        height, width = (requested, requested) if isinstance(requested, int) else requested
        return (height, width), "as image_size says"
    height, width = fake.usual
    *_, cut_height, cut_width = crop_box(*real.usual, fake.usual)
    factor, why = min(cut_height / height, cut_width / width), "that of the real images, in the fakes' proportions"
    if factor >= 1:
        factor, why = 1.0, "that of the fakes"
    bound = max_side / (factor * max(height, width))
    if bound < 1:
        factor, why = factor * bound, f"as sides are at most {max_side} pixels unless image_size= says more"
    return (max(4, round(height * factor)), max(4, round(width * factor))), why


def _size_text(sides: Sides) -> str:
    return f"{sides[0]} x {sides[1]}"


def _resize_lines(summaries: tuple[FolderSummary, FolderSummary], size: Sides, fit: str) -> list[str]:
    """Returns a line for each folder whose images change: how many are fitted, shrunk and enlarged."""
    lines = []
    for key, folder in zip(("real", "fake"), summaries, strict=True):
        fits = [(compute_fit(width, height, size, fit), count) for (height, width), count in folder.sizes.items()]
        changed = sum(count for each, count in fits if each.share > 0)
        share = sum(count * each.share for each, count in fits) / max(changed, 1)
        reshaped = {
            CROP: f"cut to these proportions ({share:.0%} of each lost)",
            PAD: f"padded to these proportions ({share:.0%} of each is padding)",
            STRETCH: f"stretched to these proportions (by {share:.0%})",
        }
        counts = {
            reshaped[fit]: changed,
            "shrunk": sum(count for each, count in fits if each.shrunk),
            "enlarged": sum(count for each, count in fits if each.enlarged),
        }
        changes = [f"{count:,} {what}" for what, count in counts.items() if count]
        if changes:
            of = f" (of the first {folder.measured:,})" if folder.measured < folder.files else ""
            lines.append(f"size: {key}: {_list_sizes(folder.sizes)}{of}; {', '.join(changes)}")
    return lines


def _list_sizes(sizes: Counter[Sides]) -> str:
    texts = [f"{count:,} of {_size_text(sides)}" for sides, count in sizes.most_common(LISTED_SIZES)]
    others = len(sizes) - LISTED_SIZES
    return ", ".join(texts) + (f" and {count_noun(others, 'other size')}" if others > 0 else "")


# --- other differences, and images on both sides -----------------------------------------------------------------


def _colour_lines(fake: FolderSummary, channels: int) -> list[str]:
    coloured = fake.measured - fake.grey
    if channels == 1 and coloured:
        return [f"warning: {coloured:,} fakes have colours and are turned grey, as the real images are"]
    if channels == 3 and fake.measured and not coloured:
        return ["warning: the fakes are grey, the real images are not"]
    return []


def _class_lines(real: Dataset, fakes: Dataset) -> list[str]:
    """Returns a warning for each side that has classes (sub-folders) that the other side, of one attribute, lacks."""
    if any(data.labels is None or data.labels.ndim > 1 for data in (real, fakes)):
        return []
    lines = []
    for (key, some), (lacking, others) in itertools.permutations((("fake", fakes), ("real", real))):
        if foreign := [name for name in some.classes if name not in others.classes]:
            lines.append(f"warning: {key} has {list_names(foreign)}, which {lacking} does not have")
    return lines


def _overlap_lines(real: str, fake: str, found: RealData, fakes: Dataset, size: Sides) -> list[str]:
    """Returns a warning if some fakes are equal to real images or both folders are the same; else an empty list."""
    if os.path.realpath(os.path.expanduser(real)) == os.path.realpath(os.path.expanduser(fake)):
        return [f"warning: real and fake are the same folder, {one_line(fake)}: the metrics are of real images"]
    sides = [data.samples for data in (found.train_unlimited, found.held_out) if data is not None]
    known = [digest for samples in sides for digest in image_digests(samples)]
    shared = count_shared(image_digests(fakes.samples), known)
    of = f"{shared:,} of {len(fakes):,} fakes are real images"
    return [f"warning: {of}, the same in each pixel at {_size_text(size)}"] if shared else []
