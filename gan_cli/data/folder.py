"""A person's own pictures: a folder or a zip of them, whose sub-folders are classes."""

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
from gan_cli.image_labels.several import Paths, Pictures, paths_of, pictures_at

NO_CACHE = "none"
VERSION = 3  # of how pictures are decoded and kept: those of another one are not looked at


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
    """The pictures at `path`, chosen and then decoded: uint8 `[N, image_channels, H, W]`, labels int64 `[N]`.

    The folder `cache` keeps what was decoded for other runs, unless it is `none`.

    There are no labels if neither sub-folders nor a table make classes; of several attributes they are
    `[N, attributes]`. UsageError for a path, a layout, a table or (unless `on_bad`
    is `skip`) a picture that cannot be used; StorageError if reading fails.
    """
    target = Target(image_size, image_channels, background, fit, value_range, bands, profiles)
    how = Labelling(labels, labels_file_column, labels_columns, labels_bins, labels_version)
    kept = _place(path, cache, how, target, on_bad, split, selection)
    found = None if kept is None else find(kept)
    return _built(path, kept, how, target, on_bad, split, selection) if found is None else found


def _place(path: Paths, cache: str, how: Labelling, *settings: object) -> Place | None:
    """Where pictures that become the same are kept; None if they are not to be, or if there are none to look at."""
    if cache == NO_CACHE:
        return None
    paths = [os.path.expanduser(each) for each in paths_of(path)]
    try:
        looked_at = [*paths, *dict.fromkeys(table for each in paths for table in beside(each, how.table))]
        content = " ".join(map(signature, looked_at))
    except (OSError, ValueError):
        return None
    # The path as it was typed, too, since it stands in the data's description.
    slot = (VERSION, PIL.__version__, paths, [*map(os.path.realpath, paths)], how, *settings)
    first, second = (hashlib.sha256(repr(key).encode()).hexdigest()[:32] for key in (slot, content))
    return Place(Path(os.path.expanduser(cache)), first, second)


def _built(
    path: Paths,
    kept: Place | None,
    how: Labelling,
    target: Target,
    on_bad: str,
    split: str,
    selection: Selection,
) -> Dataset:
    """What `build_folder` promises, decoded now, and left at `kept`."""
    with pictures_at(path) as reader:
        layout = reader.labelled(how, split)
        numbered = None if layout.labels is None else torch.tensor(layout.labels)
        chosen = selection.indices(layout.labels, layout.classes, len(layout.files))
        files = [layout.files[index] for index in chosen.tolist()]

        def made(store: Store, outcomes: list[Outcome], used: Target) -> Dataset:
            _check_bad(files, outcomes, on_bad, reader.listing.shown)
            numbers = None
            if numbered is not None:
                good = torch.tensor([outcome.bad is None for outcome in outcomes])
                numbers = numbered[chosen][good]
            return Dataset(
                samples=store.samples(),
                source=source_line(layout, reader.listing, files, outcomes, numbers, used, target.value_range),
                labels=numbers,
                classes=layout.classes,
                value_range=range_used(used, outcomes),
                changes=record_of(reader.listing, files, outcomes, used, target.value_range),
            )

        try:
            used = target
            while True:
                with Store(kept, len(files), target.shape) as store:
                    outcomes = decode_all(files, lambda file: _content(file, reader), used, store.add)
                    better = better_target(used, outcomes)
                    if better is None:
                        # Classes are counted before they are kept.
                        return store.keep(selection.apply(made(store, outcomes, used)))
                used = better
        except MemoryError as error:
            raise UsageError(_too_much(len(files), target, str(error) or "there is memory for")) from None


def _content(file: File, reader: Pictures) -> Content:
    if file.bad is not None:
        raise BadPicture(file.bad)
    return reader.picture(file)


def _too_much(count: int, target: Target, most: str) -> str:
    channels, height, width = target.shape
    size = count * channels * height * width / 1e9
    return (
        f"dataset.path: {count:,} pictures of {channels} channels, {height} x {width}, take {size:,.1f} GB, more than"
        f" {most}; set dataset.limit or a smaller image_size, or have them kept on a disk by dataset.cache"
    )


def _check_bad(files: Sequence[File], outcomes: Sequence[Outcome], on_bad: str, shown: str) -> None:
    """UsageError for bad pictures, unless they are to be skipped and some good ones remain."""
    bad = sum(outcome.bad is not None for outcome in outcomes)
    if not bad or (on_bad == "skip" and bad < len(files)):
        return
    many = f"{bad:,} of {counted(len(files), 'picture')} cannot be used"
    mend = "mend or remove them" + (", or set dataset.on_bad=skip" if on_bad == "error" else "")
    raise UsageError(f"dataset.path={shown}: {many}: {named(files, outcomes, 3)}; {mend}")
