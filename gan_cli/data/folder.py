"""A person's own pictures: a folder or a zip of them, whose sub-folders are classes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import PIL
import torch
from torch import Tensor

from gan_cli.data.dataset import Dataset
from gan_cli.data.decoding import Outcome, Target, decode_all
from gan_cli.data.mapped import Place
from gan_cli.data.selection import Selection
from gan_cli.data.store import Store, find
from gan_cli.errors import UsageError, one_line
from gan_cli.imagefolder import own
from gan_cli.imagefolder.attributes import VERSION as LABELS_VERSION
from gan_cli.imagefolder.attributes import Labelling
from gan_cli.imagefolder.finding import beside
from gan_cli.imagefolder.layout import Layout, counted
from gan_cli.imagefolder.listing import BadPicture, File, Listing, signature
from gan_cli.imagefolder.several import Paths, Pictures, paths_of, pictures_at

NO_CACHE = "none"
SOME = 9  # classes of one picture each, from where on it is said
VERSION = 2  # of how pictures are decoded and kept: those of another one are not looked at


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
    target = Target(image_size, image_channels, background)
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
        try:
            with Store(kept, len(files), target.shape) as store:
                outcomes = decode_all(files, lambda file: _read(file, reader), target, store.add)
                _check_bad(files, outcomes, on_bad, reader.listing.shown)
                numbers = None
                if numbered is not None:
                    good = torch.tensor([outcome.bad is None for outcome in outcomes])
                    numbers = numbered[chosen][good]
                source = _source(layout, reader.listing, files, outcomes, numbers, target)
                dataset = Dataset(store.samples(), source, numbers, layout.classes)
                return store.keep(selection.apply(dataset))  # classes are counted before they are kept
        except MemoryError as error:
            raise UsageError(_too_much(len(files), target, str(error) or "there is memory for")) from None


def _read(file: File, reader: Pictures) -> bytes:
    if file.bad is not None:
        raise BadPicture(file.bad)
    return reader.read(file)


def _too_much(count: int, target: Target, most: str) -> str:
    channels, height, width = target.shape
    size = count * channels * height * width / 1e9
    return (
        f"dataset.path: {count:,} pictures of {channels} channels, {height} x {width}, take {size:,.1f} GB, more than"
        f" {most}; set dataset.limit or a smaller image_size, or have them kept on a disk by dataset.cache"
    )


# --- what is said ------------------------------------------------------------------------------------------------


def _check_bad(files: Sequence[File], outcomes: Sequence[Outcome], on_bad: str, shown: str) -> None:
    """UsageError for bad pictures, unless they are to be skipped and some good ones remain."""
    bad = sum(outcome.bad is not None for outcome in outcomes)
    if not bad or (on_bad == "skip" and bad < len(files)):
        return
    many = f"{bad:,} of {counted(len(files), 'picture')} cannot be used"
    mend = "mend or remove them" + (", or set dataset.on_bad=skip" if on_bad == "error" else "")
    raise UsageError(f"dataset.path={shown}: {many}: {_named(files, outcomes, 3)}; {mend}")


def _named(files: Sequence[File], outcomes: Sequence[Outcome], most: int) -> str:
    bad = [f"{file.name} ({outcome.bad})" for file, outcome in zip(files, outcomes, strict=True) if outcome.bad]
    return ", ".join(bad[:most]) + (f" and {len(bad) - most:,} more" if len(bad) > most else "")


def _source(
    layout: Layout,
    listing: Listing,
    files: Sequence[File],
    outcomes: Sequence[Outcome],
    labels: Tensor | None,
    target: Target,
) -> str:
    """One line: how many pictures of which classes, from where, and what was done to them or left out."""
    good = [outcome for outcome in outcomes if outcome.bad is None]
    text = counted(len(good), "picture")
    if layout.said:
        text += f" with {layout.said}"
    elif labels is not None:
        text += f" in {_class_counts(layout.classes, labels)}"
    parts = [f"{text} from {one_line('/'.join((listing.shown, *layout.base)))}"]
    if len(files) < len(layout.files):
        parts.append(f"{len(files):,} of {len(layout.files):,} chosen")
    if labels is not None and not layout.said and len(layout.classes) == len(labels) > SOME:
        parts.append("each picture is its own class")
    parts += layout.remarks
    if layout.mixed:
        parts.append("pictures both loose and in sub-folders: no classes")
    height, width = target.size
    for count, said in (
        (sum(outcome.turned for outcome in good), "turned as their EXIF says"),
        (sum(outcome.flattened for outcome in good), f"with transparency put on {target.background}"),
        (sum(outcome.enlarged for outcome in good), f"smaller than {height} x {width}, enlarged"),
    ):
        if count:
            parts.append(f"{count:,} {said}")
    others = listing.others - (layout.inside in listing.candidates)
    if others:
        parts.append(counted(others, "other file"))
    if listing.own:
        parts.append(own.told(listing.own))
    if len(good) < len(files):
        parts.append(f"{len(files) - len(good):,} left out: {_named(files, outcomes, 5)}")
    return "; ".join(parts)


def _class_counts(classes: Sequence[str], labels: Tensor) -> str:
    counts = labels[labels >= 0].bincount(minlength=len(classes)).tolist()
    named = [f"{name} {count:,}" for name, count in zip(classes, counts, strict=True)]
    more = f" and {len(named) - 10:,} more" if len(named) > 10 else ""
    return f"{len(classes):,} {'class' if len(classes) == 1 else 'classes'} ({', '.join(named[:10])}{more})"
