"""The data set `folder`: the user's own images in a folder, zip, tar or array, with classes by sub-folder or table."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import PIL
import torch

from gan_cli.config.options.datasets import COLOUR, CROP, FULL, IGNORE, MAX_PIXELS_BEFORE
from gan_cli.data.dataset import Dataset
from gan_cli.data.decoding.conversion import ImageOutcome, TargetFormat, deep_value_range, target_for_set
from gan_cli.data.decoding.decode import Content, decode_all
from gan_cli.data.decoding.value_ranges import ValueRange
from gan_cli.data.image_store import ImageStore, cached_or_locked, refuse_too_many
from gan_cli.data.mapped_file import CacheEntry
from gan_cli.data.pairs import decode_pairs
from gan_cli.data.selection import Selection
from gan_cli.data.source_description import conversion_record, describe_unusable, source_line
from gan_cli.errors import UsageError, count_noun
from gan_cli.image_files.folder_reader import path_signature
from gan_cli.image_files.formats import BadImageError
from gan_cli.image_files.listing import ImageSource, ListedFile
from gan_cli.image_labels.attributes import VERSION as LABELS_VERSION
from gan_cli.image_labels.attributes import LabelOptions
from gan_cli.image_labels.find_labels import adjacent_tables
from gan_cli.image_labels.find_pairs import A_TO_B, NONE, PairOptions, find_pairs
from gan_cli.image_labels.folder_classes import Layout
from gan_cli.image_labels.image_paths import Paths, open_images, split_paths

NO_CACHE = "none"
VERSION = 3  # version of decoding and of the cache format; cache files of another version are not used


def build_folder(
    *,
    path: Paths,
    image_size: tuple[int, int],
    image_channels: int,
    background: str,
    on_bad: str,
    labels: str | None,
    cache: str,
    split: str,
    selection: Selection,
    fit: str = CROP,
    value_range: ValueRange = FULL,
    bands: str = COLOUR,
    profiles: str = IGNORE,
    labels_file_column: str | None = None,
    labels_columns: tuple[str, ...] | None = None,
    labels_bins: int | None = None,
    labels_version: int = LABELS_VERSION,
    follow_links: bool = True,
    max_pixels: int = MAX_PIXELS_BEFORE,
    pairs: str = NONE,
    direction: str = A_TO_B,
) -> Dataset:
    """Returns the selected images at `path` as uint8 `[N, image_channels, H, W]`, with labels of sub-folders or tables.

    If `pairs` says so and the images are pairs, these are the generated images, beside their source images.
    Decoded images are cached in the folder `cache`, unless `cache` is `none`. Raises UsageError if the path, its
    folders, the table or an image cannot be used; if `on_bad` is `skip`, unusable images are left out instead. Raises
    StorageError if reading fails.
    """
    target = TargetFormat(
        image_size, image_channels, background, fit, value_range, bands, profiles, max_pixels=max_pixels
    )
    how = LabelOptions(labels, labels_file_column, labels_columns, labels_bins, labels_version)
    # With on_bad=error, `max_pixels` does not change which images are in the cache file.
    limit = () if on_bad == "error" or max_pixels == MAX_PIXELS_BEFORE else (max_pixels,)
    paths = [os.path.expanduser(each) for each in split_paths(path)]
    tables = (table for each in paths for table in adjacent_tables(each, how.table))
    of_pairs = PairOptions(pairs, direction)
    settings = (how, target, on_bad, split, selection, *limit, *(of_pairs if pairs != NONE else ()))
    entry = cache_entry(cache, paths, tables, *settings, follow_links=follow_links)
    with cached_or_locked(entry) as cached, contextlib.ExitStack() as stack:
        if cached is not None:
            return cached
        reader = stack.enter_context(open_images(path, follow_links=follow_links))
        check, read = partial(check_bad, on_bad, reader.listing.shown), partial(_content, reader)
        if (found := find_pairs(reader, how, split, of_pairs)) is not None:
            return decode_pairs(reader, found, entry, target, selection, read, check, skip=on_bad == "skip")
        return decode_layout(reader, reader.read_layout(how, split), entry, target, selection, check)


def cache_entry(
    cache: str, paths: Sequence[str], tables: Iterable[str], *settings: object, follow_links: bool = True
) -> CacheEntry | None:
    """Returns the cache entry of images at `paths`, read by `tables` and `settings`; None if uncached or unreadable."""
    if cache == NO_CACHE:
        return None
    try:
        files = (*paths, *dict.fromkeys(tables))  # an iterator of tables may raise such errors
        content = " ".join(path_signature(each, follow_links=follow_links) for each in files)
    except (OSError, ValueError):
        return None
    # The path as the user typed it is included, because it is part of `Dataset.source`.
    key_parts = (VERSION, PIL.__version__, paths, [*map(os.path.realpath, paths)], *settings)
    first, second = (hashlib.sha256(repr(key).encode()).hexdigest()[:32] for key in (key_parts, content))
    return CacheEntry(Path(os.path.expanduser(cache)), first, second)


def decode_layout(
    reader: ImageSource,
    layout: Layout,
    entry: CacheEntry | None,
    target: TargetFormat,
    selection: Selection,
    check: Callable[[Sequence[ListedFile], Sequence[ImageOutcome]], None],
    key: str = "dataset.path",
) -> Dataset:
    """Decodes the selected images of `layout`, read by `reader`, and writes them to the cache file `entry`, if given.

    `check` gets the files and their outcomes, and raises UsageError if too many are unusable. `key` is for messages.
    """
    chosen = selection.indices(layout.labels, layout.classes, len(layout.files))
    files = [layout.files[index] for index in chosen.tolist()]
    used = target
    with refuse_too_many(len(files), target.shape, key):
        while True:
            with contextlib.closing(ImageStore(entry, len(files), target.shape)) as store:
                outcomes = decode_all(files, partial(_content, reader), used, store.add)
                better = target_for_set(used, outcomes)
                if better is None:
                    check(files, outcomes)
                    labels = _labels_of(layout, chosen, outcomes)
                    given, classes = target.value_range, selection.classes
                    dataset = Dataset(
                        samples=store.samples(),
                        source=source_line(layout, reader.listing, files, outcomes, labels, used, given, classes),
                        labels=labels,
                        classes=layout.classes,
                        value_range=deep_value_range(used, outcomes),
                        changes=conversion_record(reader.listing, files, outcomes, used, given),
                    )
                    return store.finalize(selection.apply(dataset))
            used = better


def decode_to_sizes(
    reader: ImageSource, files: Sequence[ListedFile], sizes: Sequence[tuple[int, int]], target: TargetFormat
) -> tuple[list[torch.Tensor], list[ImageOutcome]]:
    """Decodes each file to its own (height, width) in place of that of `target`.

    Returns uint8 `[C, H, W]` and the outcome of each. All are decoded a second time if the values of deep images ask
    for another value range. Raises UsageError if an image cannot be used.
    """
    numbers_of: dict[tuple[int, int], list[int]] = {}
    for number, size in enumerate(sizes):
        numbers_of.setdefault(size, []).append(number)
    decoded: dict[int, torch.Tensor] = {}
    used = target
    while True:
        outcomes = [ImageOutcome()] * len(files)
        for size, numbers in numbers_of.items():
            images, of_size = _decode_alike(reader, [files[number] for number in numbers], replace(used, size=size))
            for number, outcome in zip(numbers, of_size, strict=True):
                outcomes[number] = outcome
            decoded |= zip((number for number in numbers if outcomes[number].bad is None), images, strict=True)
        check_bad("", reader.listing.shown, files, outcomes)
        if (better := target_for_set(used, outcomes)) is None:
            return [decoded[number] for number in range(len(files))], outcomes
        used = better


def _decode_alike(
    reader: ImageSource, files: Sequence[ListedFile], target: TargetFormat
) -> tuple[torch.Tensor, list[ImageOutcome]]:
    """Decodes files to one size, in memory. Returns the usable images and the outcomes of all."""
    with refuse_too_many(len(files), target.shape):
        store = ImageStore(None, len(files), target.shape)
        outcomes = decode_all(files, partial(_content, reader), target, store.add)
        return store.samples(), outcomes


def _labels_of(layout: Layout, chosen: torch.Tensor, outcomes: Sequence[ImageOutcome]) -> torch.Tensor | None:
    """Returns the labels of the `chosen` images that were decoded, int64 `[N]` or `[N, attributes]`, or None."""
    if layout.labels is None:
        return None
    good = torch.tensor([outcome.bad is None for outcome in outcomes])
    return torch.tensor(layout.labels)[chosen][good]


def _content(reader: ImageSource, file: ListedFile) -> Content:
    """Returns the bytes of an image, or one of an array. Raises BadImageError if the listing refused the file."""
    if file.bad is not None:
        raise BadImageError(file.bad)
    return reader.read_image(file)


def check_bad(on_bad: str, shown: str, files: Sequence[ListedFile], outcomes: Sequence[ImageOutcome]) -> None:
    """Raises UsageError if images are unusable, unless `on_bad` is `skip` and some images are usable.

    `on_bad` is empty where no option chooses between these.
    """
    bad = sum(outcome.bad is not None for outcome in outcomes)
    if not bad or (on_bad == "skip" and bad < len(files)):
        return
    many, named = count_noun(len(files), "image"), describe_unusable(files, outcomes, 3)
    remedy = "repair or remove them" + (", or set dataset.on_bad=skip" if on_bad == "error" else "")
    raise UsageError(f"dataset.path={shown}: {bad:,} of {many} cannot be used: {named}; {remedy}")
