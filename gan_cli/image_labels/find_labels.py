"""Finds the table of labels: named by the user, inside the folder or archive, or next to it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gan_cli.errors import UsageError, count_noun, did_you_mean, one_line
from gan_cli.image_files.formats import stem_of
from gan_cli.image_files.listing import TABLE, BadImageError, ListedFile, Reader
from gan_cli.image_labels.array_labels import find_array_labels
from gan_cli.image_labels.attributes import (
    FIRST_VERSION,
    FOLDERS,
    NO_TABLE,
    SHARDS,
    Attributes,
    LabelOptions,
    describe_no_match,
    read_attributes,
)
from gan_cli.image_labels.table_matching import count_matching_rows, image_names
from gan_cli.image_labels.tables import Table, parse_table

LABEL_KEYWORDS = (NO_TABLE, FOLDERS, SHARDS)
OTHER_TABLE_NAMES = ("metadata.csv", "metadata.jsonl", "dataset.json")  # of Hugging Face and StyleGAN
MOST_BYTES = 256 * 2**20
PROBED_BYTES = 1 << 16  # bytes that are read of a table that is not used, only suggested
PROBED = 20  # the most tables that are checked for a suggestion
COCO = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[\s*\{')


class FoundLabels(NamedTuple):
    """The labels that were found. `attributes` are the attributes of the images, or None without a table.

    `remarks` are lines for the user. `inside` is the table if it lies inside the data path. `unlabelled` is True if a
    table without labels shows that sub-folders are not classes.
    """

    attributes: Attributes | None = None
    remarks: tuple[str, ...] = ()
    inside: ListedFile | None = None
    unlabelled: bool = False


def find_labels(
    path: str, how: LabelOptions, reader: Reader, files: Sequence[ListedFile], base: tuple[str, ...]
) -> FoundLabels:
    """Returns the labels of `files`.

    Uses the table that the user named, else a table inside the folder or archive `path`, else a table next to `path`. A
    table next to `path` is used only if it names these images. `base` are the folders that all images share; tables are
    searched in these folders. Raises UsageError if a table cannot be used or lacks an image.
    """
    if how.table in LABEL_KEYWORDS:
        return FoundLabels()
    if how.table is not None:
        return _labels_of_named_table(how.table, reader, files, base, how)
    inside = _at(reader.listing.tables, base)
    if inside is not None:
        try:
            return _used(_inside(inside, reader), files, base, how)
        except UsageError as error:
            raise UsageError(f"{error}; or leave it out by dataset.labels={NO_TABLE}") from None
    if how.version == FIRST_VERSION:
        adjacent = os.path.join(_parent(path), TABLE)
        return _labels_of_adjacent_table([adjacent] if os.path.isfile(adjacent) else [], path, files, base, how)
    return _elsewhere(path, how, reader, files, base)


def _labels_of_named_table(
    named: str, reader: Reader, files: Sequence[ListedFile], base: tuple[str, ...], how: LabelOptions
) -> FoundLabels:
    """Returns the labels in the table `named`, which is a file, or a file or member inside the data path.

    Raises UsageError if there is no such table.
    """
    file, member = os.path.expanduser(named), None
    if not os.path.isfile(file):
        wanted = named.replace("\\", "/").removeprefix("./")
        possible_tables = [*reader.listing.tables, *reader.listing.possible_tables]
        names = {"/".join(each.parts[depth:]): each for each in possible_tables for depth in (len(base), 0)}
        member = names.get(wanted)
        if member is None:
            some = "".join(f", {name}" for name in list(names)[:3])
            inside = f"; in {reader.listing.shown} are{some[1:]}{did_you_mean(wanted, names)}" if some else ""
            raise UsageError(
                f"dataset.labels={one_line(named)}: not found, expected a table such as {TABLE}, or"
                f" {', '.join(LABEL_KEYWORDS)}{inside}"
            )
    table = _inside(member, reader) if member is not None else parse_table(_bytes_of(file), one_line(named))
    return _used(table, files, base, how, member)


def _used(
    table: Table,
    files: Sequence[ListedFile],
    base: tuple[str, ...],
    how: LabelOptions,
    inside: ListedFile | None = None,
) -> FoundLabels:
    """Returns the labels in a table. Raises UsageError if the table names none of the images."""
    attributes = read_attributes(table, files, base, how)
    if attributes is None:
        raise UsageError(describe_no_match(table, files))
    return _found(attributes, table, inside)


def _found(attributes: Attributes, table: Table, inside: ListedFile | None = None) -> FoundLabels:
    """Returns the result for a table. If the table has no labels, the result has no attributes, but remarks."""
    if attributes.labels:
        return FoundLabels(attributes, inside=inside)
    return FoundLabels(None, (attributes.summary, *attributes.remarks), inside, unlabelled=bool(table.unlabelled))


def _elsewhere(
    path: str, how: LabelOptions, reader: Reader, files: Sequence[ListedFile], base: tuple[str, ...]
) -> FoundLabels:
    """Searches arrays of labels, tables of other programs inside `path`, and tables next to `path`, in this order.

    Returns the labels of the first table that can be used. Each table that cannot be used gives a remark.
    """
    remarks: list[str] = []
    found = _of_arrays(reader, files, base, how, remarks)
    if found is not None:
        return found
    for name in OTHER_TABLE_NAMES:
        inside = _at([file for file in reader.listing.possible_tables if file.parts[-1].lower() == name], base)
        if inside is None:
            continue
        try:
            table = _inside(inside, reader)
            attributes = read_attributes(table, files, base, how)
        except UsageError as error:
            remarks.append(f"not used: {error}")
            continue
        if attributes is not None:
            return _found(attributes, table, inside)
        remarks.append(f"not used: {describe_no_match(table, files)}")
    parent = _parent(path)
    adjacent = [os.path.join(parent, name) for name in (TABLE, *OTHER_TABLE_NAMES)]
    found = _labels_of_adjacent_table([each for each in adjacent if os.path.isfile(each)], path, files, base, how)
    if found.attributes is not None or found.unlabelled:
        return found._replace(remarks=(*remarks, *found.remarks))
    more = [*_label_files(reader), *_suggestions(path, reader, files)]
    return FoundLabels(remarks=(*remarks, *found.remarks, *more))


def _of_arrays(
    reader: Reader, files: Sequence[ListedFile], base: tuple[str, ...], how: LabelOptions, remarks: list[str]
) -> FoundLabels | None:
    """Returns the labels in an array next to the array of images, or None if there is no such array.

    If an array cannot be used, adds the reason to `remarks`.
    """
    table, used, wrong = find_array_labels(reader, files)
    remarks += wrong
    try:
        attributes = None if table is None else read_attributes(table, files, base, how)
    except UsageError as error:
        remarks.append(f"not used: {error}")
        return None
    if table is None or attributes is None:
        return None
    for file in used:
        name = one_line(file.parts[-1].removesuffix(".npy"), 60)
        if name in reader.listing.unused_arrays:
            reader.listing.unused_arrays.remove(name)
    return _found(attributes, table)


def _at(tables: Sequence[ListedFile], base: tuple[str, ...]) -> ListedFile | None:
    """Returns the table in the innermost folder that all images share, or None if these folders hold no table."""
    inside = [file for file in tables if file.parts[:-1] == base[: len(file.parts) - 1]]
    return max(inside, key=lambda file: len(file.parts)) if inside else None


def _labels_of_adjacent_table(
    tables: Sequence[str], path: str, files: Sequence[ListedFile], base: tuple[str, ...], how: LabelOptions
) -> FoundLabels:
    """Returns the labels in the first of `tables` that names these images.

    The tables lie in the folder that holds `path` and may be about other images, so a table that cannot be used gives a
    remark and no error.
    """
    remarks = []
    own = base[-1] if base else stem_of(os.path.basename(os.path.abspath(os.path.expanduser(path))))
    for each in tables:
        try:
            table = parse_table(_bytes_of(each), one_line(each))
        except UsageError as error:
            remarks.append(f"not used: {error}")
            continue
        attributes = None if table.unlabelled else read_attributes(table, files, base, how, own)
        if attributes is not None:
            return _found(attributes, table)
        remarks.append(f"not used: {describe_no_match(table, files)}")
    return FoundLabels(remarks=() if how.version == FIRST_VERSION else tuple(remarks))


def adjacent_tables(path: str, named: str | None) -> Iterator[str]:
    """Yields the existing tables outside of `path` from which the labels may be read. `named` is `dataset.labels`."""
    tables = [os.path.join(_parent(path), name) for name in (TABLE, *OTHER_TABLE_NAMES)] if named is None else [named]
    yield from filter(os.path.isfile, map(os.path.expanduser, tables))


def _parent(path: str) -> str:
    return os.path.dirname(os.path.abspath(os.path.expanduser(path)))


# --- suggestions -------------------------------------------------------------------------------------------------


def _label_files(reader: Reader) -> list[str]:
    """Returns a line about the `.cls` files of webdataset shards, or an empty list if there are no such files."""
    count = reader.listing.container_kinds["cls"]
    if not count:
        return []
    return [
        f"{count_noun(count, 'cls file')} with labels not read: write the labels into a table as file,label and name"
        " it by dataset.labels"
    ]


def _is_coco(content: bytes) -> bool:
    """Returns whether a file begins like annotations in the COCO format."""
    return content.lstrip()[:1] == b"{" and COCO.search(content) is not None


def _suggestions(path: str, reader: Reader, files: Sequence[ListedFile]) -> list[str]:
    """Returns remarks about tables with other names, inside `path` or next to it, that seem to name these images."""
    remarks = []
    names: set[str] = set()
    for shown, content, whole in _probed(path, reader):
        if _is_coco(content):
            remarks.append(
                f"{shown} has annotations in COCO's form, which are not read: write the labels into a table as"
                " file,label and name it by dataset.labels"
            )
            continue
        try:
            table = parse_table(content, shown)
        except UsageError:
            continue
        names = names or image_names(files)
        fits = max(count_matching_rows(table.rows, names).values(), default=0)
        if fits and 2 * fits >= (len(files) if whole else len(table.rows)):
            remarks.append(f"{shown} names these pictures and is not used: dataset.labels={shown} uses it")
    return remarks[:3]


def _probed(path: str, reader: Reader) -> Iterator[tuple[str, bytes, bool]]:
    """Yields for each table its name, its first complete lines, and whether these lines are the whole table."""
    for file in [file for file in reader.listing.possible_tables if file.parts[-1].lower() not in OTHER_TABLE_NAMES][
        :PROBED
    ]:
        try:
            yield file.name, *_whole_lines(reader.read(file))
        except BadImageError:
            continue
    parent, count = _parent(path), 0
    try:
        with os.scandir(parent) as items:
            for item in items:
                known = item.name.lower() in (TABLE, *OTHER_TABLE_NAMES)
                if known or not item.name.lower().endswith((".csv", ".tsv", ".json", ".jsonl")) or not item.is_file():
                    continue
                count += 1
                if count > PROBED:
                    return
                with open(item.path, "rb") as stream:
                    shown = os.path.join(os.path.dirname(os.path.expanduser(path)), item.name)
                    yield one_line(shown, 120), *_whole_lines(stream.read(PROBED_BYTES))
    except OSError:
        return


def _whole_lines(content: bytes) -> tuple[bytes, bool]:
    """Returns the first complete lines, and whether these lines are the whole content."""
    whole = len(content) < PROBED_BYTES
    return content if whole else content[: content.rfind(b"\n", 0, PROBED_BYTES)], whole


# --- bytes -------------------------------------------------------------------------------------------------------


def _inside(file: ListedFile, reader: Reader) -> Table:
    try:
        return parse_table(reader.read(file), f"{reader.listing.shown}/{file.name}")
    except BadImageError as error:
        raise UsageError(f"{file.name}: cannot be read ({error})") from None


def _bytes_of(path: str) -> bytes:
    try:
        if os.path.getsize(path) > MOST_BYTES:
            raise UsageError(f"dataset.labels={one_line(path)}: larger than {MOST_BYTES >> 20} MiB")
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        raise UsageError(f"dataset.labels={one_line(path)}: cannot be read ({one_line(error)})") from None
