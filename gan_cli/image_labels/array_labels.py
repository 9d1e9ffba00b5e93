"""Labels in an array beside the pictures' own: `labels` of an npz, `y_train` beside `x_train`."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

from gan_cli.errors import one_line
from gan_cli.image_files.arrays import ArrayPlace
from gan_cli.image_files.listing import File, Reader
from gan_cli.image_files.problems import BadPicture
from gan_cli.image_labels.tables import Table

NAMED = re.compile(r"(y|labels?|targets?|class(es)?|conditions?)", re.IGNORECASE)  # one of the words of a name
WORDS = re.compile(r"[._ -]+")


def labels_of(reader: Reader, files: Sequence[File]) -> tuple[Table | None, list[File], list[str]]:
    """The table that arrays of labels make, these arrays, and what is to be said of others that cannot be used."""
    said, rows, used = [], [], []
    for file in reader.listing.values:
        if not any(map(NAMED.fullmatch, WORDS.split(file.parts[-1].removesuffix(".npy")))):
            continue
        beside = [each for each in files if each.parts[:-1] == file.parts[:-1] and _archive(each) == _archive(file)]
        if not beside:
            continue
        try:
            cells = _cells(reader.read(file), _in_order(beside))
        except BadPicture as error:
            said.append(f"{file.name} not used: {error}")
            continue
        rows += [("/".join(each.parts), cell) for each, cell in cells]
        used.append(file)
    if not used:
        return None, [], said
    more = f" and {len(used) - 1:,} more" if len(used) > 1 else ""
    numbered = [(number, list(row)) for number, row in enumerate(rows, start=1)]
    return Table(f"{reader.listing.shown}/{used[0].name}{more}", ("file", "label"), numbered), used, said


def _archive(file: File) -> str | None:
    """The npz that holds the array, where there may be several."""
    from gan_cli.image_files.archives import NpzMember

    place = file.place.holder if isinstance(file.place, ArrayPlace) else file.place
    return place.path if isinstance(place, NpzMember) else None


def _in_order(files: Sequence[File]) -> list[File]:
    """The pictures of one array by their number; BadPicture if they are not of one array."""
    places = [file.place for file in files if isinstance(file.place, ArrayPlace) and file.place.number is not None]
    if len(places) < len(files) or len({str(place.holder) for place in places}) > 1:
        raise BadPicture("the pictures are not of one array, so the order of labels is unknown")
    return sorted(files, key=lambda file: file.place.number)


def _cells(content: bytes, files: Sequence[File]) -> list[tuple[File, str]]:
    """The label of each picture in words; of an array that has a 1 in one of its columns that column's number."""
    import numpy as np

    try:
        values: Any = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, MemoryError):
        raise BadPicture("damaged, or it holds Python objects, which are not loaded") from None
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2 and values.dtype.kind in "buif" and _one_hot(values):
        values = values.argmax(axis=1)
    if values.ndim != 1 or values.dtype.kind not in "buifUS":
        shape = ",".join(map(str, values.shape))
        raise BadPicture(f"[{shape}] is not one label for each picture")
    if len(values) != len(files):
        raise BadPicture(f"{len(values):,} labels for {len(files):,} pictures")
    return [(file, _cell(value)) for file, value in zip(files, values.tolist(), strict=True)]


def _one_hot(values: Any) -> bool:
    return bool(((values == 0) | (values == 1)).all() and (values.sum(axis=1) == 1).all())


def _cell(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return one_line(str(value).strip(), 100)
