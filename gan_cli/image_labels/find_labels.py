"""Finds the table of labels: named by the user, inside the folder or archive, or next to it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from gan_cli.errors import UsageError, count_noun, did_you_mean, first_few, one_line
from gan_cli.image_files.formats import BadImageError, stem_of_path
from gan_cli.image_files.listing import TABLE, ListedFile, Reader
from gan_cli.image_labels.array_labels import find_array_labels
from gan_cli.image_labels.attributes import FIRST_VERSION, LABEL_KEYWORDS, FoundLabels, LabelOptions, read_labels
from gan_cli.image_labels.table_matching import count_matching_rows, describe_no_match, image_names
from gan_cli.image_labels.tables import Table, parse_table

OTHER_TABLE_NAMES = ("metadata.csv", "metadata.jsonl", "dataset.json")  # of Hugging Face and StyleGAN
TABLE_NAMES = (TABLE, *OTHER_TABLE_NAMES)
MOST_BYTES = 256 * 2**20
MOST_ROWS, MOST_ROWS_PER_IMAGE = 1_000_000, 20  # of a table
PROBED_BYTES = 1 << 16  # bytes that are read of a table that is not used, only suggested
PROBED = 20  # the most tables that are checked for a suggestion
COCO = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[\s*\{')
WRITE_TABLE = "write the labels into a table as file,label and name it by dataset.labels"


def find_labels(
    path: str, how: LabelOptions, reader: Reader, files: Sequence[ListedFile], base: tuple[str, ...]
) -> FoundLabels:
    """Returns the labels of `files` from the table that the user named, else one inside `path`, else one next to it.

    A table next to `path` is used only if it names these images. `base` are the folders that all images share; tables
    are searched in these folders. Raises UsageError if a table cannot be used or lacks an image.
    """
    if how.table in LABEL_KEYWORDS:
        return FoundLabels()
    search = _Search(path, how, reader, files, base)
    if how.table is not None:
        return search.in_named_table(how.table)
    inside = search.innermost(reader.listing.tables)
    if inside is not None:
        try:
            return search.in_table(search.parse(inside), inside)
        except UsageError as error:
            raise UsageError(f"{error}; or leave it out by dataset.labels=none") from None
    if how.version == FIRST_VERSION:
        return search.in_adjacent_tables([TABLE]) or FoundLabels()
    return search.elsewhere()


def adjacent_tables(path: str, named: str | None, names: Sequence[str] = TABLE_NAMES) -> Iterator[str]:
    """Yields the existing tables outside of `path` from which the labels may be read. `named` is `dataset.labels`."""
    tables = [os.path.join(_parent(path), name) for name in names] if named is None else [named]
    yield from filter(os.path.isfile, map(os.path.expanduser, tables))


@dataclass
class _Search:
    """A search for labels. The first five fields are the arguments of `find_labels`."""

    path: str
    how: LabelOptions
    reader: Reader
    files: Sequence[ListedFile]
    base: tuple[str, ...]
    remarks: list[str] = field(default_factory=list)  # why the tables that were found so far are not used

    def in_named_table(self, named: str) -> FoundLabels:
        """Returns the labels in the table `named`: a file, or one inside the data path. Else raises UsageError."""
        file, listing = os.path.expanduser(named), self.reader.listing
        if os.path.isfile(file):
            return self.in_table(_parse_file(file, one_line(named), len(self.files)))
        wanted = named.replace("\\", "/").removeprefix("./")
        possible_tables = [*listing.tables, *listing.possible_tables]
        names = {"/".join(each.parts[depth:]): each for each in possible_tables for depth in (len(self.base), 0)}
        if wanted in names:
            return self.in_table(self.parse(names[wanted]), names[wanted])
        inside = f"; in {listing.shown} are {first_few(list(names))}{did_you_mean(wanted, names)}" if names else ""
        raise UsageError(
            f"dataset.labels={one_line(named)}: not found, expected a table such as {TABLE}, or"
            f" {', '.join(LABEL_KEYWORDS)}{inside}"
        )

    def in_table(self, table: Table, inside: ListedFile | None = None) -> FoundLabels:
        """Returns the labels in a table. Raises UsageError if the table names none of the images."""
        found = read_labels(table, self.files, self.base, self.how)
        if found is None:
            raise UsageError(describe_no_match(table, self.files))
        return found._replace(inside=inside)

    def in_adjacent_tables(self, names: Sequence[str]) -> FoundLabels | None:
        """Returns the labels in the first table next to `path` that has one of `names` and names these images.

        These tables may be about other images, so a table that cannot be used gives a remark and no error.
        """
        own = self.base[-1] if self.base else stem_of_path(self.path)
        for each in adjacent_tables(self.path, None, names):
            try:
                table = _parse_file(each, one_line(each), len(self.files))
            except UsageError as error:
                self.remarks.append(f"not used: {error}")
                continue
            found = None if table.unlabelled else read_labels(table, self.files, self.base, self.how, own)
            if found is not None:
                return found
            self.remarks.append(f"not used: {describe_no_match(table, self.files)}")
        return None

    def elsewhere(self) -> FoundLabels:
        """Returns the labels in arrays, else tables of other programs inside `path`, else tables next to `path`."""
        found = self._in_arrays() or self._in_other_tables() or self.in_adjacent_tables(TABLE_NAMES)
        if found is None:
            return FoundLabels(remarks=(*self.remarks, *self._suggestions()))
        return found._replace(remarks=(*found.remarks, *self.remarks))

    def _in_arrays(self) -> FoundLabels | None:
        """Returns the labels in an array next to the array of images, or None if there is no such array."""
        table, used, wrong = find_array_labels(self.reader, self.files)
        self.remarks += wrong
        if table is None:
            return None
        try:
            found = self.in_table(table)
        except UsageError as error:
            self.remarks.append(f"not used: {error}")
            return None
        for file in used:
            with contextlib.suppress(ValueError):
                self.reader.listing.unused_arrays.remove(one_line(file.parts[-1].removesuffix(".npy"), 60))
        return found

    def _in_other_tables(self) -> FoundLabels | None:
        """Returns the labels in a table of another program inside `path`."""
        for name in OTHER_TABLE_NAMES:
            possible_tables = self.reader.listing.possible_tables
            inside = self.innermost([file for file in possible_tables if file.parts[-1].lower() == name])
            try:
                if inside is not None:
                    return self.in_table(self.parse(inside), inside)
            except UsageError as error:
                self.remarks.append(f"not used: {error}")
        return None

    def innermost(self, tables: Sequence[ListedFile]) -> ListedFile | None:
        """Returns the table in the innermost folder that all images share, or None if these folders hold no table."""
        inside = [file for file in tables if file.parts[:-1] == self.base[: len(file.parts) - 1]]
        return max(inside, key=lambda file: len(file.parts), default=None)

    def parse(self, file: ListedFile) -> Table:
        """Returns a table inside `path`. Raises UsageError if it cannot be read."""
        try:
            content, shown = self.reader.read(file), f"{self.reader.listing.shown}/{file.name}"
        except BadImageError as error:
            raise UsageError(f"{file.name}: cannot be read ({error})") from None
        return _parse(content, shown, len(self.files))

    def _suggestions(self) -> list[str]:
        """Returns remarks about labels that are not read: `.cls` files, and tables that seem to name these images."""
        remarks = []
        names: set[str] = set()
        for shown, content, whole in self._probed():
            if content.lstrip().startswith(b"{") and COCO.search(content):
                remarks.append(f"{shown} has annotations in COCO's form, which are not read: {WRITE_TABLE}")
                continue
            try:
                table = parse_table(content, shown)
            except UsageError:
                continue
            names = names or image_names(self.files)
            fits = max(count_matching_rows(table.rows, names).values(), default=0)
            if fits and 2 * fits >= (len(self.files) if whole else len(table.rows)):
                remarks.append(f"{shown} names these images and is not used: dataset.labels={shown} uses it")
        count = self.reader.listing.container_kinds["cls"]
        unread = [f"{count_noun(count, 'cls file')} with labels not read: {WRITE_TABLE}"] if count else []
        return [*unread, *remarks[:3]]

    def _probed(self) -> Iterator[tuple[str, bytes, bool]]:
        """Yields for each table its name, its first complete lines, and whether these lines are the whole table."""
        possible_tables = self.reader.listing.possible_tables
        for file in [file for file in possible_tables if file.parts[-1].lower() not in OTHER_TABLE_NAMES][:PROBED]:
            with contextlib.suppress(BadImageError):
                yield file.name, *_whole_lines(self.reader.read(file))
        with contextlib.suppress(OSError), os.scandir(_parent(self.path)) as items:
            tables = (
                item
                for item in items
                if item.name.lower() not in TABLE_NAMES
                and item.name.lower().endswith((".csv", ".tsv", ".json", ".jsonl"))
                and item.is_file()
            )
            for item in islice(tables, PROBED):
                with open(item.path, "rb") as stream:
                    shown = os.path.join(os.path.dirname(os.path.expanduser(self.path)), item.name)
                    yield one_line(shown, 120), *_whole_lines(stream.read(PROBED_BYTES))


def _parent(path: str) -> str:
    return os.path.dirname(os.path.abspath(os.path.expanduser(path)))


def _whole_lines(content: bytes) -> tuple[bytes, bool]:
    """Returns the first complete lines, and whether these lines are the whole content."""
    whole = len(content) < PROBED_BYTES
    return content if whole else content[: content.rfind(b"\n", 0, PROBED_BYTES)], whole


def _parse_file(path: str, shown: str, images: int) -> Table:
    """Returns the table in a file. Raises UsageError if the file is too large, cannot be read or is no table."""
    try:
        if os.path.getsize(path) > MOST_BYTES:
            raise UsageError(f"dataset.labels={one_line(path)}: larger than {MOST_BYTES >> 20} MiB")
        with open(path, "rb") as file:
            content = file.read()
    except (OSError, ValueError) as error:
        raise UsageError(f"dataset.labels={one_line(path)}: cannot be read ({one_line(error)})") from None
    return _parse(content, shown, images)


def _parse(content: bytes, shown: str, images: int) -> Table:
    """Returns the table. Raises UsageError if it has so many rows that they would fill the memory, or is no table."""
    rows = max(content.count(end) for end in (b"\n", b"\r", b"]", b"}"))
    most = MOST_ROWS + MOST_ROWS_PER_IMAGE * images
    if rows > most:
        raise UsageError(f"{shown}: has {rows:,} rows for {count_noun(images, 'image')}, at most {most:,} are read")
    return parse_table(content, shown)
