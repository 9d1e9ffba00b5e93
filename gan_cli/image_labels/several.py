"""The pictures of a run: those of one folder or archive, or of several as one data set."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gan_cli.errors import GanCliError, UsageError, few, one_line
from gan_cli.image_files.formats import stem_of
from gan_cli.image_files.listing import EXPECTED, File, Listing, Reader, opened
from gan_cli.image_files.name_lists import split_names
from gan_cli.image_files.ordering import natural
from gan_cli.image_labels.attributes import Labelling
from gan_cli.image_labels.finding import WORDS, find_attributes
from gan_cli.image_labels.layout import Layout, class_numbers, labelled, layout_of

if TYPE_CHECKING:
    import numpy as np

Paths = str | tuple[str, ...]
NAMED = 3  # paths that are told of by their names


def paths_of(path: Paths) -> tuple[str, ...]:
    """The paths that are meant: `[a,b]` are two, unless something has that name."""
    if not isinstance(path, str):
        return tuple(path)
    if not re.fullmatch(r"\[.+\]", path) or os.path.exists(path):
        return (path,)
    return tuple(_names(path[1:-1])) or (path,)


def _names(text: str) -> list[str]:
    """The names between commas; none where a quote is left open."""
    try:
        return split_names(text)
    except ValueError:
        return []


def check_paths(path: Paths) -> None:
    """UsageError for a path that is not there, or is named twice; it says how to give several."""
    paths = paths_of(path)
    if not paths:
        raise UsageError("dataset.path=[]: name at least one folder, zip or tar of pictures")
    typed = path if isinstance(path, str) else f"[{','.join(path)}]"
    if re.search(r"\],|,\[", typed) and not all(os.path.exists(os.path.expanduser(each)) for each in paths):
        raise UsageError(
            f"dataset.path={one_line(typed)}: paths are not swept: give each its own command; several folders as one"
            " data set are dataset.path=[a,b]"
        )
    for each in paths:
        if isinstance(path, str) and not os.path.exists(os.path.expanduser(each)):
            names = _names(each)
            if len(names) > 1 and all(os.path.exists(os.path.expanduser(name)) for name in names):
                raise UsageError(
                    f"dataset.path={one_line(each)}: not found; several folders as one data set are"
                    f" dataset.path=[{one_line(','.join(names))}], and paths are not swept: give each its own command"
                )
        _check_there(each)
    real = [os.path.realpath(os.path.expanduser(each)) for each in paths]
    for number, one in enumerate(real):
        for other in real[:number] + real[number + 1 :]:
            if one == other or one.startswith(other + os.sep):
                raise UsageError(
                    f"dataset.path: {one_line(paths[number])} is named twice, or inside another: name it once"
                )


def _check_there(path: str) -> None:
    expanded = os.path.expanduser(path)
    try:
        os.stat(expanded)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise UsageError(f"dataset.path={one_line(expanded)}: not found, {EXPECTED}") from None
    except OSError as error:
        raise UsageError(f"dataset.path={one_line(expanded)}: cannot be read ({error.strerror})") from None


class Pictures:
    """What is at one path or at several, and how to read each picture."""

    def __init__(self, paths: Sequence[str], readers: Sequence[Reader]) -> None:
        self._readers = dict(zip(paths, readers, strict=True))
        self._only = readers[0] if len(readers) == 1 else None
        self.listing = self._only.listing if self._only is not None else _together(paths, readers)

    def read(self, file: File) -> bytes:
        reader, own = self._owner(file)
        return reader.read(own)

    def picture(self, file: File) -> bytes | np.ndarray:
        reader, own = self._owner(file)
        return reader.picture(own)

    def _owner(self, file: File) -> tuple[Reader, File]:
        """Whose picture it is, and what it is called there."""
        if self._only is not None:
            return self._only, file
        return self._readers[file.parts[0]], dataclasses.replace(file, parts=file.parts[1:])

    def labelled(self, how: Labelling, split: str) -> Layout:
        """The pictures of the split with their labels.

        Of several paths each has its own layout: one whose pictures have no classes is a class of its own, by its name.
        """
        if self._only is not None:
            return labelled(next(iter(self._readers)), how, self._only, split)
        layouts = self._layouts(how, split)
        self.listing.unused = [name for reader in self._readers.values() for name in reader.listing.unused]
        if how.table is not None and how.table not in WORDS:
            return self._of_one_table(how, layouts)
        return _united(layouts)

    def count(self, split: str) -> int:
        """How many pictures the split has that seem readable."""
        how = Labelling()
        if self._only is not None:
            layouts = [layout_of(self._only.listing, split, how)]
        else:
            layouts = list(self._layouts(how._replace(table="none"), split).values())
        return sum(file.bad is None for layout in layouts for file in layout.files)

    def _layouts(self, how: Labelling, split: str) -> dict[str, Layout]:
        """Each path's; only those that have the split. UsageError if none has."""
        found, refused = {}, None
        one_table = how.table is not None and how.table not in WORDS
        for path, reader in self._readers.items():
            try:
                each = layout_of(reader.listing, split, how) if one_table else labelled(path, how, reader, split)
            except UsageError as error:
                if split == "train":
                    raise
                refused = error
            else:
                found[path] = each
        if not found and refused is not None:
            raise refused
        return found

    def _of_one_table(self, how: Labelling, layouts: dict[str, Layout]) -> Layout:
        files = [file for layout in layouts.values() for file in layout.files]
        found = find_attributes("", how, _Nothing(self.listing), files, ())
        layout = _united(layouts)
        if found.attributes is None:
            return layout._replace(remarks=(*layout.remarks, *found.said))
        several = list(zip(*found.attributes.labels, strict=True))
        labels = several if len(found.attributes.labels) > 1 else found.attributes.labels[0]
        attributes = found.attributes
        return layout._replace(
            labels=labels, classes=attributes.classes, said=attributes.said, remarks=attributes.remarks
        )


class _Nothing:
    """A reader of no tables: that of several paths lies outside of them."""

    def __init__(self, listing: Listing) -> None:
        self.listing = dataclasses.replace(listing, tables=[], candidates=[])

    def read(self, file: File) -> bytes:
        raise AssertionError(file)

    picture = read


@contextlib.contextmanager
def pictures_at(path: Paths) -> Iterator[Pictures]:
    """What is at `path`, which may be several; UsageError if something there is neither a folder nor an archive."""
    check_paths(path)
    paths = paths_of(path)
    with contextlib.ExitStack() as stack:
        yield Pictures(paths, [stack.enter_context(opened(each)) for each in paths])


def count_pictures(path: Paths, split: str, how: Labelling, classes: tuple[str, ...] | None) -> int | None:
    """How many pictures a run reads at `path`, by their names alone; None if it cannot read them."""
    try:
        with pictures_at(path) as pictures:
            if classes is None:
                return pictures.count(split)
            layout = pictures.labelled(how, split)
            chosen = {*class_numbers(classes, layout.labels, layout.classes)}
            read = zip(layout.files, layout.labels or (), strict=True)
            return sum(label in chosen for file, label in read if file.bad is None)
    except (GanCliError, OSError, ValueError):
        return None


# --- several -----------------------------------------------------------------------------------------------------


def _together(paths: Sequence[str], readers: Sequence[Reader]) -> Listing:
    shown = [one_line(os.path.expanduser(path)) for path in paths]
    listing = Listing(few(shown, NAMED) if len(shown) > NAMED else " and ".join(shown))
    for path, reader in zip(paths, readers, strict=True):
        listing.own += [own._replace(parts=(path, *own.parts)) for own in reader.listing.own]
        listing.files += [dataclasses.replace(file, parts=(path, *file.parts)) for file in reader.listing.files]
        listing.arrays += reader.listing.arrays
        listing.unused += reader.listing.unused
        listing.others += reader.listing.others
        listing.ways += reader.listing.ways
        listing.first_way = listing.first_way or reader.listing.first_way
    return listing


def _united(layouts: dict[str, Layout]) -> Layout:
    """One layout; the pictures' paths begin with what was typed for them."""
    files = [
        dataclasses.replace(file, parts=(path, *file.parts))
        for path, layout in layouts.items()
        for file in layout.files
    ]
    own_class = {path: _class_name(path) for path, layout in layouts.items() if layout.labels is None}
    rows = [row for path, layout in layouts.items() for row in _values(layout, own_class.get(path))]
    attributes = list(dict.fromkeys(tuple(row) for row in rows))
    if len(attributes) > 1:
        one, other = (", ".join(names) if names != ("",) else "plain classes" for names in attributes[:2])
        raise UsageError(f"dataset.path: some of these pictures have {one}, some {other}; give all the same columns")
    classes: list[str] = []
    columns = []
    for name in attributes[0]:
        values = sorted({row[name] for row in rows} - {None}, key=lambda value: natural(str(value)))
        numbers = {value: len(classes) + number for number, value in enumerate(values)}
        columns.append([numbers.get(row[name], -1) for row in rows])
        classes += [f"{name}={value}" if name else str(value) for value in values]
    labels = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
    remarks = [remark for layout in layouts.values() for remark in (layout.said, *layout.remarks) if remark]
    if own_class:
        each = "each folder" if len(own_class) == len(layouts) else " and ".join(map(one_line, own_class))
        remarks.append(f"{each} a class")
    return Layout(files, labels, tuple(classes), (), mixed=False, remarks=tuple(remarks))


def _values(layout: Layout, own_class: str | None) -> list[dict[str, str | None]]:
    """Of each picture its value of each attribute, whose name is empty where classes stand alone."""
    if layout.labels is None:
        return [{"": own_class} for _ in layout.files]
    found = []
    several = isinstance(layout.labels[0], tuple)
    names = list(dict.fromkeys(name.rpartition("=")[0] for name in layout.classes)) if several else [""]
    for label in layout.labels:
        numbers = label if isinstance(label, tuple) else (label,)
        values = [layout.classes[number].rpartition("=")[2] if number >= 0 else None for number in numbers]
        found.append(dict(zip(names, values, strict=True)))
    return found


def _class_name(path: str) -> str:
    name = os.path.basename(os.path.abspath(os.path.expanduser(path)))
    return one_line(stem_of(name))
