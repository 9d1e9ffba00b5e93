"""Labels in an array next to the array of images: `labels` in an npz, `y_train` next to `x_train`."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

from gan_cli.errors import count_noun, first_few, one_line
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
            images = _in_order(images)
            labels = _read_labels(reader.read(file), len(images))
        except BadImageError as error:
            notes.append(f"{file.name} not used: {error}")
            continue
        rows += [["/".join(image.parts), label] for image, label in zip(images, labels, strict=True)]
        used.append(file)
    if not used:
        return None, [], notes
    shown = f"{reader.listing.shown}/{first_few([file.name for file in used], 1)}"
    return Table(shown, ("file", "label"), list(enumerate(rows, start=1))), used, notes


def _archive(file: ListedFile) -> str | None:
    """Returns the path of the npz file in a folder that holds the array, or None if none does."""
    from gan_cli.image_files.zip_reader import NpzMember

    location = file.location.container if isinstance(file.location, ArrayLocation) else file.location
    return location.path if isinstance(location, NpzMember) else None


def _in_order(files: Sequence[ListedFile]) -> list[ListedFile]:
    """Returns the images of one array, sorted by their index. Raises BadImageError if they are not all of one array."""
    locations = [file.location for file in files]
    numbered = all(isinstance(each, ArrayLocation) and each.number is not None for each in locations)
    if not numbered or len({str(each.container) for each in locations}) > 1:
        raise BadImageError("the images are not of one array, so the order of labels is unknown")
    return sorted(files, key=lambda file: file.location.number)


def _read_labels(content: bytes, images: int) -> list[str]:
    """Returns the labels of `images` images; a one-hot row is the number of its column. Raises BadImageError."""
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
    if len(values) != images:
        raise BadImageError(f"{count_noun(len(values), 'label')} for {count_noun(images, 'image')}")
    return list(map(_label, values.tolist()))


def _label(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return one_line(str(value).strip(), 100)
