"""Where a table of labels is: named, inside the folder or archive, or beside it; and which tables are only told of."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gan_cli.errors import UsageError, closest, one_line
from gan_cli.image_files.formats import stem_of
from gan_cli.image_files.listing import TABLE, BadPicture, File, Reader
from gan_cli.image_labels.array_labels import labels_of
from gan_cli.image_labels.attributes import (
    FIRST_VERSION,
    FOLDERS,
    NO_TABLE,
    SHARDS,
    Attributes,
    Labelling,
    attributes_in,
    missed,
)
from gan_cli.image_labels.matching import known_names, rows_about
from gan_cli.image_labels.tables import Table, parse_table

WORDS = (NO_TABLE, FOLDERS, SHARDS)
OTHERS = ("metadata.csv", "metadata.jsonl", "dataset.json")  # of Hugging Face and of StyleGAN
MOST_BYTES = 256 * 2**20
PROBED_BYTES = 1 << 16  # of a table that is only told of
PROBED = 20  # tables


class Found(NamedTuple):
    """What a table says of the pictures, None if none does, what is to be said of others, and the file that it was.

    `unlabelled`: a table says that sub-folders are no classes.
    """

    attributes: Attributes | None = None
    said: tuple[str, ...] = ()
    inside: File | None = None
    unlabelled: bool = False


def find_attributes(path: str, how: Labelling, reader: Reader, files: Sequence[File], base: tuple[str, ...]) -> Found:
    """From the table that is named, the one inside the folder or archive `path`, or the one beside it.

    The one beside is taken only if it is about these pictures. `base` are the folders that all paths begin with: inside
    one of them a table is looked for. UsageError for a table that cannot be used or that leaves a picture out.
    """
    if how.table in WORDS:
        return Found()
    if how.table is not None:
        return _named(how.table, reader, files, base, how)
    inside = _at(reader.listing.tables, base)
    if inside is not None:
        try:
            return _used(_inside(inside, reader), files, base, how)
        except UsageError as error:
            raise UsageError(f"{error}; or leave it out by dataset.labels={NO_TABLE}") from None
    if how.version == FIRST_VERSION:
        place = os.path.join(_parent(path), TABLE)
        return _beside([place] if os.path.isfile(place) else [], path, files, base, how)
    return _elsewhere(path, how, reader, files, base)


def _named(named: str, reader: Reader, files: Sequence[File], base: tuple[str, ...], how: Labelling) -> Found:
    """A file, or else a member of the archive or a file of the folder."""
    place, member = os.path.expanduser(named), None
    if not os.path.isfile(place):
        wanted = named.replace("\\", "/").removeprefix("./")
        candidates = [*reader.listing.tables, *reader.listing.candidates]
        names = {"/".join(file.parts[depth:]): file for file in candidates for depth in (len(base), 0)}
        member = names.get(wanted)
        if member is None:
            some = "".join(f", {name}" for name in list(names)[:3])
            inside = f"; in {reader.listing.shown} are{some[1:]}{closest(wanted, names)}" if some else ""
            raise UsageError(
                f"dataset.labels={one_line(named)}: not found, expected a table such as {TABLE}, or {', '.join(WORDS)}"
                f"{inside}"
            )
    table = _inside(member, reader) if member is not None else parse_table(_bytes_of(place), one_line(named))
    return _used(table, files, base, how, member)


def _used(
    table: Table, files: Sequence[File], base: tuple[str, ...], how: Labelling, inside: File | None = None
) -> Found:
    attributes = attributes_in(table, files, base, how)
    if attributes is None:
        raise UsageError(missed(table, files))
    return _found(attributes, table, inside)


def _found(attributes: Attributes, table: Table, inside: File | None = None) -> Found:
    if attributes.labels:
        return Found(attributes, inside=inside)
    return Found(None, (attributes.said, *attributes.remarks), inside, unlabelled=bool(table.unlabelled))


def _elsewhere(path: str, how: Labelling, reader: Reader, files: Sequence[File], base: tuple[str, ...]) -> Found:
    """From tables of other programs inside, or from any beside; what cannot be used is told, and stops nothing."""
    said: list[str] = []
    found = _of_arrays(reader, files, base, how, said)
    if found is not None:
        return found
    for name in OTHERS:
        inside = _at([file for file in reader.listing.candidates if file.parts[-1].lower() == name], base)
        if inside is None:
            continue
        try:
            table = _inside(inside, reader)
            attributes = attributes_in(table, files, base, how)
        except UsageError as error:
            said.append(f"not used: {error}")
            continue
        if attributes is not None:
            return _found(attributes, table, inside)
        said.append(f"not used: {missed(table, files)}")
    parent = _parent(path)
    places = [os.path.join(parent, name) for name in (TABLE, *OTHERS)]
    found = _beside([place for place in places if os.path.isfile(place)], path, files, base, how)
    if found.attributes is not None or found.unlabelled:
        return found._replace(said=(*said, *found.said))
    more = _fitting(path, reader, files)
    return Found(said=(*said, *found.said, *more))


def _of_arrays(
    reader: Reader, files: Sequence[File], base: tuple[str, ...], how: Labelling, said: list[str]
) -> Found | None:
    """From an array of labels beside the pictures' own; `said` gets why one cannot be used."""
    table, used, wrong = labels_of(reader, files)
    said += wrong
    try:
        attributes = None if table is None else attributes_in(table, files, base, how)
    except UsageError as error:
        said.append(f"not used: {error}")
        return None
    if table is None or attributes is None:
        return None
    for file in used:
        name = one_line(file.parts[-1].removesuffix(".npy"), 60)
        if name in reader.listing.unused:
            reader.listing.unused.remove(name)
    return _found(attributes, table)


def _at(tables: Sequence[File], base: tuple[str, ...]) -> File | None:
    """The table in the innermost of the folders that all pictures are below."""
    inside = [file for file in tables if file.parts[:-1] == base[: len(file.parts) - 1]]
    return max(inside, key=lambda file: len(file.parts)) if inside else None


def _beside(places: Sequence[str], path: str, files: Sequence[File], base: tuple[str, ...], how: Labelling) -> Found:
    """From a table in the folder that holds `path`, which may as well be about something else."""
    said = []
    own = base[-1] if base else stem_of(os.path.basename(os.path.abspath(os.path.expanduser(path))))
    for place in places:
        try:
            table = parse_table(_bytes_of(place), one_line(place))
        except UsageError as error:
            said.append(f"not used: {error}")
            continue
        attributes = None if table.unlabelled else attributes_in(table, files, base, how, own)
        if attributes is not None:
            return _found(attributes, table)
        said.append(f"not used: {missed(table, files)}")
    return Found(said=() if how.version == FIRST_VERSION else tuple(said))


def beside(path: str, named: str | None) -> Iterator[str]:
    """The tables outside of `path` that its labels may come from."""
    places = [os.path.join(_parent(path), name) for name in (TABLE, *OTHERS)] if named is None else [named]
    yield from filter(os.path.isfile, map(os.path.expanduser, places))


def _parent(path: str) -> str:
    return os.path.dirname(os.path.abspath(os.path.expanduser(path)))


# --- only told of ------------------------------------------------------------------------------------------------


def _fitting(path: str, reader: Reader, files: Sequence[File]) -> list[str]:
    """Of tables by other names, inside and beside, those that are about these pictures."""
    said = []
    names: set[str] = set()
    for shown, content, whole in _probed(path, reader):
        try:
            table = parse_table(content, shown)
        except UsageError:
            continue
        names = names or known_names(files)
        fits = max(rows_about(table.rows, names).values(), default=0)
        if fits and 2 * fits >= (len(files) if whole else len(table.rows)):
            said.append(f"{shown} names these pictures and is not used: dataset.labels={shown} takes it")
    return said[:3]


def _probed(path: str, reader: Reader) -> Iterator[tuple[str, bytes, bool]]:
    """What to type for each table, whole lines from its beginning, and whether these are all."""
    for file in [file for file in reader.listing.candidates if file.parts[-1].lower() not in OTHERS][:PROBED]:
        try:
            yield file.name, *_whole_lines(reader.read(file))
        except BadPicture:
            continue
    parent, count = _parent(path), 0
    try:
        with os.scandir(parent) as items:
            for item in items:
                known = item.name.lower() in (TABLE, *OTHERS)
                if known or not item.name.lower().endswith((".csv", ".tsv", ".jsonl")) or not item.is_file():
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
    whole = len(content) < PROBED_BYTES
    return content if whole else content[: content.rfind(b"\n", 0, PROBED_BYTES)], whole


# --- bytes -------------------------------------------------------------------------------------------------------


def _inside(file: File, reader: Reader) -> Table:
    try:
        return parse_table(reader.read(file), f"{reader.listing.shown}/{file.name}")
    except BadPicture as error:
        raise UsageError(f"{file.name}: cannot be read ({error})") from None


def _bytes_of(path: str) -> bytes:
    try:
        if os.path.getsize(path) > MOST_BYTES:
            raise UsageError(f"dataset.labels={one_line(path)}: larger than {MOST_BYTES >> 20} MiB")
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        raise UsageError(f"dataset.labels={one_line(path)}: cannot be read ({one_line(error)})") from None
