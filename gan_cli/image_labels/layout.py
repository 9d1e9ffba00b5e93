"""Which pictures of a folder or zip make up a split, and of which classes they are."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from gan_cli.errors import UsageError, closest, counted, one_line
from gan_cli.image_files.formats import FORMATS_READ
from gan_cli.image_files.listing import File, Listing, Reader
from gan_cli.image_files.ordering import natural
from gan_cli.image_files.own_outputs import told
from gan_cli.image_files.shards import are_shards, named_like_shards
from gan_cli.image_labels.attributes import FIRST_VERSION, FOLDERS, SHARDS, Labelling
from gan_cli.image_labels.finding import find_attributes

SPLITS = {"train": ("train",), "test": ("test", "val", "valid", "validation")}
SPLIT_NAMES = frozenset(name for names in SPLITS.values() for name in names)


class Layout(NamedTuple):
    """The pictures of a split in their order, their classes by number (-1: none), and the folder they are below.

    `labels` are a number each, or a list of several attributes each. `said` is of the table that they are from,
    `inside` that table if it lies among the pictures, `remarks` what else is to be told.
    """

    files: list[File]
    labels: list[int] | list[tuple[int, ...]] | None
    classes: tuple[str, ...]
    base: tuple[str, ...]
    mixed: bool
    said: str = ""
    remarks: tuple[str, ...] = ()
    inside: File | None = None


def labelled(path: str, how: Labelling, reader: Reader, split: str) -> Layout:
    """The layout with the classes of a table of labels, if there is one."""
    layout = _labelled(path, how, reader, split)
    if how.version != FIRST_VERSION:
        return layout
    try:
        newer = _labelled(path, how._replace(version=how.version + 1), reader, split)
    except UsageError:
        return layout
    if (newer.labels, newer.classes) == (layout.labels, layout.classes):
        return layout
    now, new = (", ".join(each.classes[:4]) or "none" for each in (layout, newer))
    remark = f"classes as when the run began (dataset.labels_version={how.version}): {now} ...; a new run has {new} ..."
    return layout._replace(remarks=(*layout.remarks, one_line(remark, 300)))


def _labelled(path: str, how: Labelling, reader: Reader, split: str) -> Layout:
    layout = layout_of(reader.listing, split, how)
    found = find_attributes(path, how, reader, layout.files, layout.base)
    attributes = found.attributes
    if attributes is None:
        if found.unlabelled and layout.labels is not None:  # as in StyleGAN's archives, whose folders are parts
            layout = layout._replace(labels=None, classes=(), remarks=())
        return layout._replace(remarks=(*layout.remarks, *found.said), inside=found.inside)
    said = attributes.said + (f", not its {len(layout.classes)} sub-folders" if layout.classes else "")
    several = list(zip(*attributes.labels, strict=True))
    labels = several if len(attributes.labels) > 1 else attributes.labels[0]
    return layout._replace(
        labels=labels,
        classes=attributes.classes,
        said=said,
        remarks=(*attributes.remarks, *found.said),
        inside=found.inside,
        mixed=False,
    )


def class_numbers(wanted: Sequence[str], labels: object, names: Sequence[str]) -> list[int]:
    """The numbers of the classes that are `wanted`; UsageError for one that is not among the data's `names`."""
    shown = f"dataset.classes=[{','.join(wanted)}]"
    if not wanted:
        raise UsageError(f"{shown}: name at least one class, or leave it out")
    if isinstance(labels, Sequence) and labels and isinstance(labels[0], tuple):
        raise UsageError("dataset.classes: these pictures have several attributes, none is their class; leave it out")
    if labels is None or not names:
        raise UsageError(f"{shown}: these data have no classes, leave it out")
    for name in wanted:
        if name not in names:
            some = ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")
            raise UsageError(f"{shown}: {name!r} is no class of these data, expected {some}{closest(name, names)}")
        if wanted.count(name) > 1:
            raise UsageError(f"{shown}: name each class once")
    return [list(names).index(name) for name in wanted]


# --- splits and classes ------------------------------------------------------------------------------------------


def layout_of(listing: Listing, split: str, how: Labelling) -> Layout:
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
        others = f", only {listing.describe_others()}" if listing.describe_others() else ""
        others += f"; {told(listing.own)}" if listing.own else ""
        way = f"; {listing.first_way}" if listing.first_way else ""
        raise UsageError(f"dataset.path={one_line(place)}: no pictures in it{others}{way}; {FORMATS_READ}")
    labels, classes, mixed, remarks = _classes(files, base, place, how)
    return Layout(files, labels, classes, base, mixed, remarks=remarks)


def _plain(files: Sequence[File]) -> Sequence[File]:
    """The files that decide the layout: a stray gif beside the classes shall not undo them."""
    read = [file for file in files if not file.foreign]
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
    files: Sequence[File], base: tuple[str, ...], place: str, how: Labelling
) -> tuple[list[int] | None, tuple[str, ...], bool, tuple[str, ...]]:
    """Labels and classes by the first sub-folder below `base`; whether pictures lie beside those; what to tell."""
    depth = len(base)
    inside = [file for file in files if file.parts[:depth] == base]
    plain = _plain(inside)
    found = {file.parts[depth] for file in plain if len(file.parts) > depth + 1}
    folders = sorted(found, key=None if how.version == FIRST_VERSION else natural)
    loose = any(len(file.parts) == depth + 1 for file in plain)
    if not folders or loose:
        return None, (), bool(folders), ()
    parts, remarks = _parts(folders, plain, depth, how)
    if parts:
        return None, (), False, remarks
    names = tuple(one_line(unicodedata.normalize("NFC", folder)) for folder in folders)
    twice = [name for name, count in Counter(names).items() if count > 1 or not name]
    if twice:
        raise UsageError(f"dataset.path={one_line(place)}: several sub-folders would be the class {twice[0]!r}")
    numbers = {(*base, folder): number for number, folder in enumerate(folders)}
    labels = [numbers.get(file.parts[: depth + 1], -1) for file in files]
    return labels, names, False, remarks


def _parts(folders: Sequence[str], files: Sequence[File], depth: int, how: Labelling) -> tuple[bool, tuple[str, ...]]:
    """Whether the sub-folders are parts and no classes, and what is to be told of that."""
    if how.version == FIRST_VERSION or how.table == FOLDERS:
        return False, ()
    if how.table == SHARDS:
        return True, (f"{counted(len(folders), 'sub-folder')} taken as parts, no classes",)
    if not named_like_shards(folders):
        return False, ()
    names: dict[str, list[str]] = {folder: [] for folder in folders}
    for file in files:
        names[file.parts[depth]].append(file.parts[-1])
    if are_shards(names):
        span = folders[0] if len(folders) == 1 else f"{folders[0]} to {folders[-1]}"
        return True, (
            f"sub-folders {span} are numbered parts, no classes (dataset.labels={FOLDERS} makes them classes)",
        )
    return False, (f"if {', '.join(folders[:3])} ... are parts and no classes: dataset.labels={SHARDS}",)
