"""Finds the images of a split in a listing, and their classes."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gan_cli.errors import UsageError, count_noun, did_you_mean, first_few, one_line
from gan_cli.image_files.formats import FORMATS_READ
from gan_cli.image_files.listing import LINK, ListedFile, Listing, Reader
from gan_cli.image_files.own_outputs import describe_outputs
from gan_cli.image_labels.attributes import FIRST_VERSION, FOLDERS, SHARDS, FoundLabels, LabelOptions, natural_key
from gan_cli.image_labels.find_labels import find_labels

SPLITS = {"train": ("train",), "test": ("test", "val", "valid", "validation")}
SPLIT_NAMES = frozenset(name for names in SPLITS.values() for name in names)
SHARD = re.compile(r"[0-9]{5,}")
THOUSAND = 1000  # files in a folder of FFHQ; the number of the first file is the name of the folder
NUMBER = re.compile(r"[0-9]+")


class Layout(NamedTuple):
    """The images of a split in order, with their labels."""

    files: Sequence[ListedFile]
    # A class number for each image, or a tuple of these if there are several attributes; -1 means no class.
    labels: list[int] | list[tuple[int, ...]] | None = None
    classes: tuple[str, ...] = ()
    base: tuple[str, ...] = ()  # the folder that all images are below
    mixed: bool = False  # some images are in sub-folders and others are not, so that there are no classes
    summary: str = ""  # describes the table of labels
    remarks: tuple[str, ...] = ()  # further lines for the user
    inside: ListedFile | None = None  # the table if it lies among the images


def read_layout(path: str, how: LabelOptions, reader: Reader, split: str) -> Layout:
    """Returns the images of a split with their labels, from a table of labels if there is one, else from sub-folders.

    In labels version 1, a remark says so if the newer version gives other labels.
    """
    layout = _labelled(path, how, reader, split)
    if how.version != FIRST_VERSION:
        return layout
    try:
        newer = _labelled(path, how._replace(version=how.version + 1), reader, split)
    except UsageError:
        return layout
    if (newer.labels, newer.classes) == (layout.labels, layout.classes):
        return layout
    now, new = (first_few(each.classes, 4) or "none" for each in (layout, newer))
    remark = f"classes as when the run began (dataset.labels_version={how.version}): {now}; a new run has {new}"
    return layout._replace(remarks=(*layout.remarks, one_line(remark, 300)))


def _labelled(path: str, how: LabelOptions, reader: Reader, split: str) -> Layout:
    """Returns the layout with the labels that the rules of the version `how.version` give."""
    layout = layout_of_split(reader.listing, split, how)
    found = find_labels(path, how, reader, layout.files, layout.base)
    if found.unlabelled and layout.labels is not None:  # as in archives of StyleGAN, whose folders are shards
        layout = layout._replace(labels=None, classes=(), remarks=())
    note = f", not its {len(layout.classes)} sub-folders" if layout.classes else ""
    return with_labels(layout, found._replace(summary=found.summary + note))


def with_labels(layout: Layout, found: FoundLabels) -> Layout:
    """Returns the layout with the labels of a table. If the table has none, only its remarks are added."""
    if found.labels is None:
        return layout._replace(remarks=(*layout.remarks, *found.remarks), inside=found.inside)
    labels, classes, summary, remarks, inside, _ = found
    return Layout(layout.files, labels, classes, layout.base, False, summary, remarks, inside)


def class_indices(wanted: Sequence[str], labels: object, names: Sequence[str]) -> list[int]:
    """Returns the class numbers of the `wanted` classes. Raises UsageError if one is unknown or named twice."""
    shown = f"dataset.classes=[{','.join(wanted)}]"
    if not wanted:
        raise UsageError(f"{shown}: name at least one class, or leave it out")
    if isinstance(labels, Sequence) and labels and isinstance(labels[0], tuple):
        raise UsageError("dataset.classes: these images have several attributes, none is their class; leave it out")
    if labels is None or not names:
        raise UsageError(f"{shown}: these data have no classes, leave it out")
    for name in wanted:
        if name not in names:
            known = f"{first_few(names, 20)}{did_you_mean(name, names)}"
            raise UsageError(f"{shown}: {name!r} is no class of these data, expected {known}")
        if wanted.count(name) > 1:
            raise UsageError(f"{shown}: name each class once")
    return [names.index(name) for name in wanted]


def layout_of_split(listing: Listing, split: str, how: LabelOptions) -> Layout:
    """Returns the images of the split, with classes by sub-folder. Raises UsageError if there are no images."""
    if not SPLIT_NAMES.isdisjoint(map(str.lower, listing.skipped.get(LINK, ()))):  # the split would be another one
        raise UsageError(f"dataset.path={listing.shown}: {listing.describe_skipped()[0]}, or remove it")
    base: tuple[str, ...] = ()
    folder = _split_folder(listing, base, split)
    if folder is None and (base := _common_top(listing)):
        folder = _split_folder(listing, base, split)
    files = sorted(listing.files, key=lambda file: "/".join(file.parts))
    if folder is not None:
        base = (*base, folder)
        files = [file for file in files if file.parts[: len(base)] == base]
    elif split != "train":
        raise UsageError(f"dataset.split={split}: {listing.shown} has no sub-folder {split} beside a sub-folder train")
    folder_name = "/".join((listing.shown, *base))
    if not files:
        others = listing.describe_others()
        first = f"no images in it{f', only {others}' if others else ''}"
        own = describe_outputs(listing.own)
        text = "; ".join(filter(None, (first, *listing.describe_skipped(), own, listing.first_advice, FORMATS_READ)))
        raise UsageError(f"dataset.path={one_line(folder_name)}: {text}")
    return _with_classes(Layout(files, base=base), folder_name, how)


def _plain(files: Sequence[ListedFile]) -> Sequence[ListedFile]:
    """Returns the files that decide which folders are classes: those of a format that is read, or all if none is."""
    return [file for file in files if not file.foreign] or files


def _common_top(listing: Listing) -> tuple[str, ...]:
    """Returns the single folder that holds all images. Returns `()` if there is none or if it is a class."""
    files = _plain(listing.files)
    wrapped = {file.parts[:-1][:1] for file in files}
    is_class = not listing.zipped and any(len(file.parts) == 2 for file in files)
    return wrapped.pop() if len(wrapped) == 1 and not is_class else ()


def _split_folder(listing: Listing, base: tuple[str, ...], split: str) -> str | None:
    """Returns the sub-folder of `base` that holds the split, or None if the sub-folders are not splits."""
    depth = len(base)
    full = {file.parts[depth] for file in listing.files if len(file.parts) > depth + 1 and file.parts[:depth] == base}
    empty = {folder[depth] for folder in listing.folders if len(folder) > depth and folder[:depth] == base}
    splits = {name for name in full | empty if name.lower() in SPLIT_NAMES}
    if not any(name.lower() == "train" for name in splits):
        return None
    if len(splits) == 1 and full - splits:  # `train` is a class, as in train, car, plane
        return None
    for wanted in SPLITS[split]:
        found = sorted(name for name in splits if name.lower() == wanted)
        if len(found) > 1:
            raise UsageError(f"dataset.path={listing.shown}: has both {found[0]} and {found[1]}, rename one")
        if found:
            return found[0]
    raise UsageError(f"dataset.split={split}: {listing.shown} has no sub-folder {split}")


def _with_classes(layout: Layout, folder_name: str, how: LabelOptions) -> Layout:
    """Returns the layout with the sub-folders of `layout.base` as classes. Raises UsageError if two are alike."""
    base, depth = layout.base, len(layout.base)
    plain = _plain([file for file in layout.files if file.parts[:depth] == base])
    found = {file.parts[depth] for file in plain if len(file.parts) > depth + 1}
    folders = sorted(found, key=None if how.version == FIRST_VERSION else natural_key)
    if not folders or any(len(file.parts) == depth + 1 for file in plain):
        return layout._replace(mixed=bool(folders))
    are_parts, remarks = _parts(folders, plain, depth, how)
    if are_parts:
        return layout._replace(remarks=remarks)
    names = tuple(one_line(unicodedata.normalize("NFC", folder)) for folder in folders)
    twice = [name for name, count in Counter(names).items() if count > 1 or not name]
    if twice:
        raise UsageError(f"dataset.path={one_line(folder_name)}: several sub-folders would be the class {twice[0]!r}")
    numbers = {(*base, folder): number for number, folder in enumerate(folders)}
    labels = [numbers.get(file.parts[: depth + 1], -1) for file in layout.files]
    return layout._replace(labels=labels, classes=names, remarks=remarks)


def _parts(
    folders: Sequence[str], files: Sequence[ListedFile], depth: int, how: LabelOptions
) -> tuple[bool, tuple[str, ...]]:
    """Returns whether the sub-folders are numbered parts of one data set (shards) and not classes, and remarks."""
    if how.version == FIRST_VERSION or how.table == FOLDERS:
        return False, ()
    if how.table == SHARDS:
        return True, (f"{count_noun(len(folders), 'sub-folder')} taken as parts, no classes",)
    numbered = all(map(SHARD.fullmatch, folders)) and min(folders).startswith("0")
    if not numbered or len({len(name) for name in folders}) > 1:  # unlike 00000, 00001
        return False, ()
    names: dict[str, list[str]] = {folder: [] for folder in folders}
    for file in files:
        names[file.parts[depth]].append(file.parts[-1])
    if _are_shards(names):
        span = " to ".join(dict.fromkeys((folders[0], folders[-1])))
        remark = f"sub-folders {span} are numbered parts, no classes (dataset.labels={FOLDERS} makes them classes)"
        return True, (remark,)
    return False, (f"if {first_few(folders)} are parts and no classes: dataset.labels={SHARDS}",)


def _are_shards(names: Mapping[str, Sequence[str]]) -> bool:
    """Returns whether sub-folders are shards, as in StyleGAN archives and FFHQ. `names` are the files in each of them.

    In shards, the numbering of the files continues from one folder to the next. Classes may also have such folder
    names, as 00000 to 00042 in GTSRB, but there the numbering begins again in each folder.
    """
    if len(names) > 1 and all(int(folder) % THOUSAND == 0 for folder in names):
        return True
    last = -1
    for folder in sorted(names):
        found = [NUMBER.findall(os.path.splitext(name)[0]) for name in names[folder]]
        numbers = [int(each[-1][-30:]) for each in found if each]
        if len(numbers) < len(found) or min(numbers) <= last:
            return False
        last = max(numbers)
    return True
