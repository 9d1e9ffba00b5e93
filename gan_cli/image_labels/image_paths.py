"""Reads the images of one path, or of several paths as one data set. A path is a folder, archive or file."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gan_cli.errors import GanCliError, UsageError, first_few, one_line
from gan_cli.image_files.formats import stem_of_path
from gan_cli.image_files.listing import ListedFile, Listing, Reader
from gan_cli.image_files.open_reader import existing_mode, open_reader
from gan_cli.image_labels.attributes import LABEL_KEYWORDS, NO_TABLE, LabelOptions, natural_key
from gan_cli.image_labels.find_labels import find_labels
from gan_cli.image_labels.folder_classes import Layout, class_indices, layout_of_split, read_layout, with_labels

if TYPE_CHECKING:
    import numpy as np

Paths = str | tuple[str, ...]
MOST_NAMED = 3  # paths named in a message
# One item of a list with the comma after it.
QUOTED = re.compile(r"""(?P<quote>['"])(?P<name>(?:\\.|(?!(?P=quote))[^\\])*)(?P=quote)\s*(?:,|$)""")
UNQUOTED = re.compile(r"(?P<name>[^,]*)(?:,|$)")


def split_names(text: str) -> list[str]:
    """Returns the names in a text such as `cat,'a,b'`. Raises ValueError if a quote is not closed."""
    names = []
    rest = text.strip()
    while rest:
        match = QUOTED.match(rest) if rest[0] in "'\"" else UNQUOTED.match(rest)
        if match is None:
            raise ValueError(text)
        names.append(_unescaped(match["name"], rest[0]) if rest[0] in "'\"" else match["name"].strip())
        rest = rest[match.end() :].strip()
    return [name for name in names if name]


def _unescaped(text: str, mark: str) -> str:
    """Undoes the escaping of `overrides.quote_for_hydra` in the text between the quotes."""
    text = re.sub(rf"(\\+)(?={mark}|$)", lambda match: match[1][: len(match[1]) // 2], text)
    return re.sub(r"(\\*)\\\$\{", lambda match: match[1][: len(match[1]) // 2] + "${", text)


def split_paths(path: Paths) -> tuple[str, ...]:
    """Returns the paths that `path` names. `[a,b]` names two paths, unless a file or folder has that name."""
    if not isinstance(path, str):
        return tuple(path)
    if not re.fullmatch(r"\[.+\]", path) or os.path.exists(path):
        return (path,)
    return tuple(_names(path[1:-1])) or (path,)


def format_path_list(paths: Sequence[str]) -> str:
    """Returns a list of paths as a user would type it, for example `[cats,dogs]`."""
    return f"[{','.join(map(_in_quotes, paths))}]"


def _in_quotes(path: str) -> str:
    """Returns a path as an item of a list, in quotes if the path would otherwise be split or changed."""
    mark = '"' if "'" in path else "'"
    return f"{mark}{path}{mark}" if set(path) & set(",[]'\"") or path != path.strip() else path


def _names(text: str) -> list[str]:
    """Returns the names in a text as `split_names`, but an empty list if a quote is not closed."""
    try:
        return split_names(text)
    except ValueError:
        return []


def _all_exist(paths: Sequence[str]) -> bool:
    return all(os.path.exists(os.path.expanduser(path)) for path in paths)


def check_paths(path: Paths) -> None:
    """Raises UsageError if a path does not exist, is named twice or is inside another path, or if there is no path."""
    paths = split_paths(path)
    if not paths:
        raise UsageError("dataset.path=[]: name at least one folder, zip or tar of images")
    typed = path if isinstance(path, str) else f"[{','.join(path)}]"
    if re.search(r"\],|,\[", typed) and not _all_exist(paths):
        raise UsageError(
            f"dataset.path={one_line(typed)}: paths are not swept: use a command for each; several folders as one"
            " data set are dataset.path=[a,b]"
        )
    for each in paths:
        names = _names(each) if isinstance(path, str) and not _all_exist([each]) else []
        if len(names) > 1 and _all_exist(names):
            raise UsageError(
                f"dataset.path={one_line(each)}: not found; several folders as one data set are"
                f" dataset.path=[{one_line(','.join(names))}], and paths are not swept: use a command for each"
            )
        existing_mode(each)
    real = [os.path.realpath(os.path.expanduser(each)) for each in paths]
    for (name, one), (_, other) in itertools.permutations(zip(paths, real, strict=True), 2):
        if one == other or one.startswith(other + os.sep):
            raise UsageError(f"dataset.path: {one_line(name)} is named twice, or inside another: name it once")


class ImageReader:
    """Lists and reads the images of one path or of several paths. It uses one `Reader` for each path."""

    def __init__(self, paths: Sequence[str], readers: Sequence[Reader]) -> None:
        self._readers = dict(zip(paths, readers, strict=True))
        self._only = readers[0] if len(readers) == 1 else None
        self.listing = self._only.listing if self._only is not None else _combined(paths, readers)

    @property
    def is_single(self) -> bool:
        """Whether there is one path."""
        return self._only is not None

    def read(self, file: ListedFile) -> bytes:
        reader, own = self._owner(file)
        return reader.read(own)

    def read_image(self, file: ListedFile) -> bytes | np.ndarray:
        reader, own = self._owner(file)
        return reader.read_image(own)

    def _owner(self, file: ListedFile) -> tuple[Reader, ListedFile]:
        """Returns the reader that listed a file, and the file as that reader listed it."""
        if self._only is not None:
            return self._only, file
        return self._readers[file.parts[0]], dataclasses.replace(file, parts=file.parts[1:])

    def read_layout(self, how: LabelOptions, split: str) -> Layout:
        """Returns the images of the split with their labels.

        If there are several paths, labels are found for each path, and images of a path without labels get the name of
        the path as their class. If `dataset.labels` names a table, this table labels the images of all paths.
        """
        layouts = self._layouts(how, split)
        if self._only is not None:
            return next(iter(layouts.values()))
        unused = [reader.listing.unused_arrays for reader in self._readers.values()]
        self.listing.unused_arrays = list(itertools.chain(*unused))
        layout = _united(layouts)
        if not self._one_table(how):
            return layout
        files = [file for layout in layouts.values() for file in layout.files]
        return with_labels(layout, find_labels("", how, self, files, ()))

    def count(self, split: str) -> int:
        """Returns the number of images in the split that the listing found no fault with."""
        layouts = self._layouts(LabelOptions(NO_TABLE), split).values()
        return sum(file.bad is None for layout in layouts for file in layout.files)

    def _one_table(self, how: LabelOptions) -> bool:
        """Returns whether `dataset.labels` names a table that labels the images of several paths."""
        return self._only is None and how.table is not None and how.table not in LABEL_KEYWORDS

    def _layouts(self, how: LabelOptions, split: str) -> dict[str, Layout]:
        """Returns the layout of each path with the split. Raises UsageError if none has it or, for `train`, not all."""
        found, refused = {}, None
        for path, reader in self._readers.items():
            try:
                if self._one_table(how):
                    found[path] = layout_of_split(reader.listing, split, how)
                else:
                    found[path] = read_layout(path, how, reader, split)
            except UsageError as error:
                if split == "train":
                    raise
                refused = error
        if not found and refused is not None:
            raise refused
        return found


@contextlib.contextmanager
def open_images(path: Paths, *, follow_links: bool = False) -> Iterator[ImageReader]:
    """Yields the reader of `path`, which may be several paths. Raises UsageError as `open_reader`."""
    check_paths(path)
    paths = split_paths(path)
    with contextlib.ExitStack() as stack:
        yield ImageReader(paths, [stack.enter_context(open_reader(each, follow_links=follow_links)) for each in paths])


def count_images(
    path: Paths, split: str, how: LabelOptions, classes: tuple[str, ...] | None, *, follow_links: bool = False
) -> int | None:
    """Returns the number of images of `classes` (None: all) that a run reads at `path`, without decoding them.

    Returns None if the images cannot be read. Raises UsageError if they have no such class.
    """
    try:
        with open_images(path, follow_links=follow_links) as images:
            if classes is None:
                return images.count(split)
            layout = images.read_layout(how, split)
    except (GanCliError, OSError, ValueError):
        return None
    chosen = {*class_indices(classes, layout.labels, layout.classes)}
    labelled_files = zip(layout.files, layout.labels or (), strict=True)
    return sum(label in chosen for file, label in labelled_files if file.bad is None)


def _combined(paths: Sequence[str], readers: Sequence[Reader]) -> Listing:
    """Returns one listing of the files of all paths. The parts of each file begin with the path that the user typed."""
    shown = [one_line(os.path.expanduser(path)) for path in paths]
    listing = Listing(first_few(shown, MOST_NAMED) if len(shown) > MOST_NAMED else " and ".join(shown))
    listing.links_followed = any(reader.listing.links_followed for reader in readers)
    for path, reader in zip(paths, readers, strict=True):
        for why, names in reader.listing.skipped.items():
            listing.skipped.setdefault(why, []).extend(one_line(f"{path}/{name}", 120) for name in names)
        listing.own += [own._replace(parts=(path, *own.parts)) for own in reader.listing.own]
        listing.files += [_below(path, file) for file in reader.listing.files]
        listing.arrays += reader.listing.arrays
        listing.unused_arrays += reader.listing.unused_arrays
        listing.others += reader.listing.others
        listing.container_kinds += reader.listing.container_kinds
        listing.first_advice = listing.first_advice or reader.listing.first_advice
    return listing


def _below(path: str, file: ListedFile) -> ListedFile:
    return dataclasses.replace(file, parts=(path, *file.parts))


def _united(layouts: dict[str, Layout]) -> Layout:
    """Returns one layout of all images, with the typed paths in front. Raises UsageError if attributes differ."""
    files = [_below(path, file) for path, layout in layouts.items() for file in layout.files]
    own_class = {path: one_line(stem_of_path(path)) for path, layout in layouts.items() if layout.labels is None}
    rows = [row for path, layout in layouts.items() for row in _values(layout, own_class.get(path))]
    attributes = list(dict.fromkeys(tuple(row) for row in rows))
    if len(attributes) > 1:
        one, other = (", ".join(names) if names != ("",) else "plain classes" for names in attributes[:2])
        raise UsageError(f"dataset.path: some of these images have {one}, some {other}; give all the same columns")
    classes: list[str] = []
    columns = []
    for name in attributes[0]:
        values = sorted({row[name] for row in rows} - {None}, key=lambda value: natural_key(str(value)))
        numbers = {value: len(classes) + number for number, value in enumerate(values)}
        columns.append([numbers.get(row[name], -1) for row in rows])
        classes += [f"{name}={value}" if name else str(value) for value in values]
    labels = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
    remarks = [remark for layout in layouts.values() for remark in (layout.summary, *layout.remarks) if remark]
    if own_class:
        each = "each folder" if len(own_class) == len(layouts) else " and ".join(map(one_line, own_class))
        remarks.append(f"{each} a class")
    return Layout(files, labels, tuple(classes), remarks=tuple(remarks))


def _values(layout: Layout, own_class: str | None) -> list[dict[str, str | None]]:
    """Returns for each image a dict from attribute to value. Plain classes, or `own_class`, are one without a name."""
    if layout.labels is None:
        return [{"": own_class} for _ in layout.files]
    several = isinstance(layout.labels[0], tuple)
    names = list(dict.fromkeys(name.rpartition("=")[0] for name in layout.classes)) if several else [""]
    values = [name.rpartition("=")[2] for name in layout.classes] + [None]  # the last is the value of -1
    rows = [label if isinstance(label, tuple) else (label,) for label in layout.labels]
    return [dict(zip(names, [values[number] for number in row], strict=True)) for row in rows]
