"""Labels in an array next to the array of images: `labels` in an npz, `y_train` next to `x_train`."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

from gan_cli.errors import count_noun, one_line
from gan_cli.image_files.arrays import ArrayLocation
from gan_cli.image_files.formats import BadImageError
from gan_cli.image_files.listing import ListedFile, Reader
from gan_cli.image_labels.tables import Table

# An array whose name has such a word is an array of labels.
LABEL_WORD = re.compile(r"(y|labels?|targets?|class(es)?|conditions?)", re.IGNORECASE)
SEPARATORS = re.compile(r"[._ -]+")


def find_array_labels(reader: Reader, files: Sequence[ListedFile]) -> tuple[Table | None, list[ListedFile], list[str]]:
    """Returns the labels in arrays next to the images (None without any), these arrays, and notes on unusable ones."""
    notes, rows, used = [], [], []
    for file in reader.listing.values:
        if not any(map(LABEL_WORD.fullmatch, SEPARATORS.split(file.parts[-1].removesuffix(".npy")))):
            continue
        images = [each for each in files if each.parts[:-1] == file.parts[:-1] and _archive(each) == _archive(file)]
        if not images:
            continue
        try:
            cells = _cells(reader.read(file), _in_order(images))
        except BadImageError as error:
            notes.append(f"{file.name} not used: {error}")
            continue
        rows += [("/".join(each.parts), cell) for each, cell in cells]
        used.append(file)
    if not used:
        return None, [], notes
    more = f" and {len(used) - 1:,} more" if len(used) > 1 else ""
    numbered = [(number, list(row)) for number, row in enumerate(rows, start=1)]
    return Table(f"{reader.listing.shown}/{used[0].name}{more}", ("file", "label"), numbered), used, notes


def _archive(file: ListedFile) -> str | None:
    """Returns the path of the npz file that holds the array. Returns None if the array is not in an npz file."""
    from gan_cli.image_files.zip_reader import NpzMember

    location = file.location.container if isinstance(file.location, ArrayLocation) else file.location
    return location.path if isinstance(location, NpzMember) else None


def _in_order(files: Sequence[ListedFile]) -> list[ListedFile]:
    """Returns the images of one array, sorted by their index. Raises BadImageError if they are not all of one array."""
    locations = [
        file.location for file in files if isinstance(file.location, ArrayLocation) and file.location.number is not None
    ]
    if len(locations) < len(files) or len({str(location.container) for location in locations}) > 1:
        raise BadImageError("the images are not of one array, so the order of labels is unknown")
    return sorted(files, key=lambda file: file.location.number)


def _cells(content: bytes, files: Sequence[ListedFile]) -> list[tuple[ListedFile, str]]:
    """Returns each image with its label as text. A one-hot row gives the number of the column that is 1.

    Raises BadImageError if the array is damaged or does not hold one label for each image.
    """
    import numpy as np

    try:
        values: Any = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, MemoryError):
        raise BadImageError("damaged, or it holds Python objects, which are not loaded") from None
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    numbers = values.ndim == 2 and values.dtype.kind in "buif"
    if numbers and ((values == 0) | (values == 1)).all() and (values.sum(axis=1) == 1).all():  # one-hot
        values = values.argmax(axis=1)
    if values.ndim != 1 or values.dtype.kind not in "buifUS":
        shape = ",".join(map(str, values.shape))
        raise BadImageError(f"[{shape}] is not one label for each image")
    if len(values) != len(files):
        raise BadImageError(f"{count_noun(len(values), 'label')} for {count_noun(len(files), 'image')}")
    return [(file, _cell(value)) for file, value in zip(files, values.tolist(), strict=True)]


def _cell(value: Any) -> str:
    """Returns a label of an array as text."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return one_line(str(value).strip(), 100)
