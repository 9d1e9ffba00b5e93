"""A person's own pictures: a folder or a zip of them, whose sub-folders are classes."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import PIL
import torch
from torch import Tensor

from gan_cli.data.attributes import Attributes, read_attributes, table_beside
from gan_cli.data.dataset import Dataset
from gan_cli.data.decoding import BadPicture, Outcome, Target, decode_all
from gan_cli.data.listing import READ, File, Listing, Reader, opened, signature
from gan_cli.data.mapped import Place
from gan_cli.data.selection import Selection
from gan_cli.data.store import Store, find
from gan_cli.errors import UsageError, one_line

FORMATS_READ = "png, jpg, webp and bmp are read"
SPLITS = {"train": ("train",), "test": ("test", "val", "valid", "validation")}
SPLIT_NAMES = frozenset(name for names in SPLITS.values() for name in names)
NO_CACHE = "none"
VERSION = 1  # of how pictures are decoded and kept: those of another one are not looked at


class Layout(NamedTuple):
    """The pictures of a split in their order, their classes by number (-1: none), and the folder they are below."""

    files: list[File]
    labels: Tensor | None
    classes: tuple[str, ...]
    base: tuple[str, ...]
    mixed: bool
    said: str = ""


def build_folder(
    *,
    path: str,
    image_size: tuple[int, int],
    image_channels: int,
    background: str,
    on_bad: str,
    labels: str | None,
    cache: str,
    split: str,
    selection: Selection,
) -> Dataset:
    """The pictures below `path`, chosen and then decoded: uint8 `[N, image_channels, H, W]`, labels int64 `[N]`.

    The folder `cache` keeps what was decoded for other runs, unless it is `none`.

    There are no labels if neither sub-folders nor a `labels.csv` make classes; of several attributes they are
    `[N, attributes]`. UsageError for a path, a layout, a table or (unless `on_bad`
    is `skip`) a picture that cannot be used; StorageError if reading fails.
    """
    target = Target(image_size, image_channels, background)
    kept = _place(path, cache, labels, target, on_bad, split, selection)
    found = None if kept is None else find(kept)
    return _built(path, kept, labels, target, on_bad, split, selection) if found is None else found


def _place(path: str, cache: str, labels: str | None, *settings: object) -> Place | None:
    """Where pictures that become the same are kept; None if they are not to be, or if there are none to look at."""
    if cache == NO_CACHE:
        return None
    expanded = os.path.expanduser(path)
    beside = table_beside(path) if labels is None else os.path.expanduser(labels)
    try:
        content = f"{signature(expanded)} {signature(beside) if os.path.isfile(beside) else None}"
    except (OSError, ValueError):
        return None
    # The path as it was typed, too, since it stands in the data's description.
    slot = (VERSION, PIL.__version__, expanded, os.path.realpath(expanded), labels, *settings)
    first, second = (hashlib.sha256(repr(key).encode()).hexdigest()[:32] for key in (slot, content))
    return Place(Path(os.path.expanduser(cache)), first, second)


def _built(
    path: str,
    kept: Place | None,
    labels: str | None,
    target: Target,
    on_bad: str,
    split: str,
    selection: Selection,
) -> Dataset:
    """What `build_folder` promises, decoded now, and left at `kept`."""
    with opened(path) as reader:
        layout = _layout(reader.listing, split)
        attributes = read_attributes(path, labels, reader, layout.files, layout.base)
        if attributes is not None:
            said = attributes.said + (f", not its {len(layout.classes)} sub-folders" if layout.classes else "")
            layout = layout._replace(labels=attributes.labels, classes=attributes.classes, said=said)
            _check_choice(selection, attributes)
        chosen = selection.indices(layout.labels, layout.classes, len(layout.files))
        files = [layout.files[index] for index in chosen.tolist()]
        try:
            with Store(kept, len(files), target.shape) as store:
                outcomes = decode_all(files, lambda file: _read(file, reader), target, store.add)
                _check_bad(files, outcomes, on_bad, reader.listing.shown)
                numbers = None
                if layout.labels is not None:
                    good = torch.tensor([outcome.bad is None for outcome in outcomes])
                    numbers = layout.labels[chosen][good]
                source = _source(layout, reader.listing, files, outcomes, numbers, target)
                dataset = Dataset(store.samples(), source, numbers, layout.classes)
                return store.keep(selection.apply(dataset))  # classes are counted before they are kept
        except MemoryError as error:
            raise UsageError(_too_much(len(files), target, str(error) or "there is memory for")) from None


def _read(file: File, reader: Reader) -> bytes:
    if file.bad is not None:
        raise BadPicture(file.bad)
    return reader.read(file)


def _check_choice(selection: Selection, attributes: Attributes) -> None:
    if selection.classes is not None and attributes.labels.ndim > 1:
        raise UsageError("dataset.classes: these pictures have several attributes, none is their class; leave it out")


def _too_much(count: int, target: Target, most: str) -> str:
    channels, height, width = target.shape
    size = count * channels * height * width / 1e9
    return (
        f"dataset.path: {count:,} pictures of {channels} channels, {height} x {width}, take {size:,.1f} GB, more than"
        f" {most}; set dataset.limit or a smaller image_size, or have them kept on a disk by dataset.cache"
    )


# --- splits and classes ------------------------------------------------------------------------------------------


def _layout(listing: Listing, split: str) -> Layout:
    """Which pictures make up the split, and their classes; UsageError if there are none."""
    base: tuple[str, ...] = ()
    folder = _split_folder(listing, base, split)
    if folder is None:
        base = _common_top(listing)
        folder = _split_folder(listing, base, split) if base else None
    files = sorted(listing.files, key=lambda file: "/".join(file.parts))
    if folder is not None:
        base = (*base, folder)
        files = [file for file in files if file.parts[: len(base)] == base]
    elif split != "train":
        raise UsageError(f"dataset.split={split}: {listing.shown} has no sub-folder {split} beside a sub-folder train")
    place = "/".join((listing.shown, *base))
    if not files:
        others = f", only {_count(listing.others, 'other file')}" if listing.others else ""
        raise UsageError(f"dataset.path={one_line(place)}: no pictures in it{others}; {FORMATS_READ}")
    labels, classes, mixed = _classes(files, base, place)
    return Layout(files, None if labels is None else torch.tensor(labels), classes, base, mixed)


def _plain(files: Sequence[File]) -> Sequence[File]:
    """The files that decide the layout: a stray gif beside the classes shall not undo them."""
    read = [file for file in files if file.parts[-1].lower().endswith(READ)]
    return read or files


def _common_top(listing: Listing) -> tuple[str, ...]:
    """The one folder that all pictures are in, if it is a wrapping and not a class; else nothing."""
    files = _plain(listing.files)
    wrapped = {file.parts[0] for file in files if len(file.parts) > 1}
    if len(wrapped) != 1 or any(len(file.parts) == 1 for file in files):
        return ()
    return tuple(wrapped) if listing.zipped or all(len(file.parts) > 2 for file in files) else ()


def _split_folder(listing: Listing, base: tuple[str, ...], split: str) -> str | None:
    """The sub-folder of `base` that holds the split, None if its sub-folders are no splits."""
    depth = len(base)
    full = {file.parts[depth] for file in listing.files if len(file.parts) > depth + 1 and file.parts[:depth] == base}
    empty = {folder[depth] for folder in listing.folders if len(folder) > depth and folder[:depth] == base}
    splits = {name for name in full | empty if name.lower() in SPLIT_NAMES}
    if not any(name.lower() == "train" for name in splits):
        return None
    if len(splits) == 1 and full - splits:  # a class of trains, beside cars and planes
        return None
    for wanted in SPLITS[split]:
        found = sorted(name for name in splits if name.lower() == wanted)
        if len(found) > 1:
            raise UsageError(f"dataset.path={listing.shown}: has both {found[0]} and {found[1]}, rename one")
        if found:
            return found[0]
    raise UsageError(f"dataset.split={split}: {listing.shown} has no sub-folder {split}")


def _classes(
    files: Sequence[File], base: tuple[str, ...], place: str
) -> tuple[list[int] | None, tuple[str, ...], bool]:
    """Labels and classes by the first sub-folder below `base`, and whether there are loose pictures beside those."""
    depth = len(base)
    inside = [file for file in files if file.parts[:depth] == base]
    plain = _plain(inside)
    folders = sorted({file.parts[depth] for file in plain if len(file.parts) > depth + 1})
    loose = any(len(file.parts) == depth + 1 for file in plain)
    if not folders or loose:
        return None, (), bool(folders)
    names = tuple(one_line(unicodedata.normalize("NFC", folder)) for folder in folders)
    twice = [name for name, count in Counter(names).items() if count > 1 or not name]
    if twice:
        raise UsageError(f"dataset.path={one_line(place)}: several sub-folders would be the class {twice[0]!r}")
    numbers = {(*base, folder): number for number, folder in enumerate(folders)}
    labels = [numbers.get(file.parts[: depth + 1], -1) for file in files]
    return labels, names, False


# --- what is said ------------------------------------------------------------------------------------------------


def _check_bad(files: Sequence[File], outcomes: Sequence[Outcome], on_bad: str, shown: str) -> None:
    """UsageError for bad pictures, unless they are to be skipped and some good ones remain."""
    bad = sum(outcome.bad is not None for outcome in outcomes)
    if not bad or (on_bad == "skip" and bad < len(files)):
        return
    many = f"{bad:,} of {_count(len(files), 'picture')} cannot be used"
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
    text = _count(len(good), "picture")
    if layout.said:
        text += f" with {layout.said}"
    elif labels is not None:
        text += f" in {_class_counts(layout.classes, labels)}"
    parts = [f"{text} from {one_line('/'.join((listing.shown, *layout.base)))}"]
    if len(files) < len(layout.files):
        parts.append(f"{len(files):,} of {len(layout.files):,} chosen")
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
    if listing.others:
        parts.append(_count(listing.others, "other file"))
    if len(good) < len(files):
        parts.append(f"{len(files) - len(good):,} left out: {_named(files, outcomes, 5)}")
    return "; ".join(parts)


def _class_counts(classes: Sequence[str], labels: Tensor) -> str:
    counts = labels.bincount(minlength=len(classes)).tolist()
    named = [f"{name} {count:,}" for name, count in zip(classes, counts, strict=True)]
    more = f" and {len(named) - 10:,} more" if len(named) > 10 else ""
    return f"{len(classes):,} {'class' if len(classes) == 1 else 'classes'} ({', '.join(named[:10])}{more})"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
