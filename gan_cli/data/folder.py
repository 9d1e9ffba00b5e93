"""The data set `folder`: images of the user in a folder, zip, tar or array, with classes by sub-folder or table."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import PIL
import torch

from gan_cli.config.options.datasets import COLOUR, CROP, FULL, IGNORE
from gan_cli.data.dataset import Dataset
from gan_cli.data.decoding.conversion import Outcome, Target, better_target, range_used
from gan_cli.data.decoding.decoding import Content, decode_all
from gan_cli.data.decoding.ranges import ValueRange
from gan_cli.data.mapped import Place
from gan_cli.data.selection import Selection
from gan_cli.data.store import Store, find
from gan_cli.data.told import named, record_of, source_line
from gan_cli.errors import UsageError, counted
from gan_cli.image_files.folders import signature
from gan_cli.image_files.listing import BadPicture, File
from gan_cli.image_labels.attributes import VERSION as LABELS_VERSION
from gan_cli.image_labels.attributes import Labelling
from gan_cli.image_labels.finding import beside
from gan_cli.image_labels.layout import Layout
from gan_cli.image_labels.several import Paths, Pictures, paths_of, pictures_at

NO_CACHE = "none"
VERSION = 3  # of decoding and of the cache format; cache entries of another version are ignored


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
) -> Dataset:
    """Decodes the selected images at `path` to uint8 `[N, image_channels, H, W]`, with labels int64 `[N]`.

    With several attributes the labels are `[N, attributes]`; they are None if neither sub-folders nor a table give
    classes. Decoded images are cached in the folder `cache`, unless it is `none`.

    UsageError for an unusable path, layout, table or (unless `on_bad` is `skip`) image; StorageError if reading fails.
    """
    target = Target(image_size, image_channels, background, fit, value_range, bands, profiles)
    how = Labelling(labels, labels_file_column, labels_columns, labels_bins, labels_version)
    entry = _cache_entry(path, cache, how, target, on_bad, split, selection)
    found = None if entry is None else find(entry)
    return _decode_dataset(path, entry, how, target, on_bad, split, selection) if found is None else found


def _cache_entry(path: Paths, cache: str, how: Labelling, *settings: object) -> Place | None:
    """Returns the cache entry of these images and settings; None without a cache or if a path cannot be read."""
    if cache == NO_CACHE:
        return None
    paths = [os.path.expanduser(each) for each in paths_of(path)]
    try:
        files = [*paths, *dict.fromkeys(table for each in paths for table in beside(each, how.table))]
        content = " ".join(map(signature, files))
    except (OSError, ValueError):
        return None
    # The typed path is included, because it is part of `Dataset.source`.
    key_parts = (VERSION, PIL.__version__, paths, [*map(os.path.realpath, paths)], how, *settings)
    first, second = (hashlib.sha256(repr(key).encode()).hexdigest()[:32] for key in (key_parts, content))
    return Place(Path(os.path.expanduser(cache)), first, second)


def _decode_dataset(
    path: Paths,
    entry: Place | None,
    how: Labelling,
    target: Target,
    on_bad: str,
    split: str,
    selection: Selection,
) -> Dataset:
    """Decodes the images of `build_folder` and stores them in the cache `entry`, if given."""
    with pictures_at(path) as reader:
        layout = reader.labelled(how, split)
        chosen = selection.indices(layout.labels, layout.classes, len(layout.files))
        files = [layout.files[index] for index in chosen.tolist()]
        used = target
        try:
            while True:
                with Store(entry, len(files), target.shape) as store:
                    outcomes = decode_all(files, lambda file: _content(file, reader), used, store.add)
                    better = better_target(used, outcomes)
                    if better is None:
                        _check_bad(files, outcomes, on_bad, reader.listing.shown)
                        labels = _labels_of(layout, chosen, outcomes)
                        dataset = Dataset(
                            samples=store.samples(),
                            source=source_line(
                                layout,
                                reader.listing,
                                files,
                                outcomes,
                                labels,
                                used,
                                target.value_range,
                                selection.classes,
                            ),
                            labels=labels,
                            classes=layout.classes,
                            value_range=range_used(used, outcomes),
                            changes=record_of(reader.listing, files, outcomes, used, target.value_range),
                        )
                        return store.keep(selection.apply(dataset))
                used = better
        except MemoryError as error:
            raise UsageError(_too_much(len(files), target, str(error) or "there is memory for")) from None


def _labels_of(layout: Layout, chosen: torch.Tensor, outcomes: Sequence[Outcome]) -> torch.Tensor | None:
    """Returns the labels of the `chosen` images that could be decoded, int64 `[N]` or `[N, attributes]`."""
    if layout.labels is None:
        return None
    good = torch.tensor([outcome.bad is None for outcome in outcomes])
    return torch.tensor(layout.labels)[chosen][good]


def _content(file: File, reader: Pictures) -> Content:
    """Reads an encoded image or an array. BadPicture if the listing already refused it."""
    if file.bad is not None:
        raise BadPicture(file.bad)
    return reader.picture(file)


def _too_much(count: int, target: Target, most: str) -> str:
    """Returns the message for a data set that takes more memory than `most`."""
    channels, height, width = target.shape
    size = count * channels * height * width / 1e9
    return (
        f"dataset.path: {count:,} pictures of {channels} channels, {height} x {width}, take {size:,.1f} GB, more than"
        f" {most}; set dataset.limit or a smaller image_size, or store them on disk by dataset.cache"
    )


def _check_bad(files: Sequence[File], outcomes: Sequence[Outcome], on_bad: str, shown: str) -> None:
    """UsageError for unusable images, unless they are skipped (`on_bad`) and usable ones remain."""
    bad = sum(outcome.bad is not None for outcome in outcomes)
    if not bad or (on_bad == "skip" and bad < len(files)):
        return
    many = f"{bad:,} of {counted(len(files), 'picture')} cannot be used"
    mend = "mend or remove them" + (", or set dataset.on_bad=skip" if on_bad == "error" else "")
    raise UsageError(f"dataset.path={shown}: {many}: {named(files, outcomes, 3)}; {mend}")
