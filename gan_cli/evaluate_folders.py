"""Two folders or zips of pictures, real and made, as the data sets that an evaluation is of."""

from __future__ import annotations

import dataclasses
import io
import warnings
from collections import Counter
from collections.abc import Iterator

from PIL import Image

from gan_cli.data import build_dataset
from gan_cli.data.dataset import Dataset
from gan_cli.data.decoding import FORMATS
from gan_cli.data.folder import NO_CACHE
from gan_cli.errors import GanCliError, UsageError
from gan_cli.imagefolder.attributes import VERSION
from gan_cli.imagefolder.listing import BadPicture
from gan_cli.imagefolder.several import pictures_at
from gan_cli.options.datasets import Folder
from gan_cli.reference import Real, find_real

GREY = ("1", "L", "LA", "I", "I;16")
LOOKED_AT = 100  # pictures whose size and colour say what all are brought to
LARGEST = 128  # pixels of a side, unless the user says more
MOST_REAL = 50_000  # real pictures that are read

Size = int | tuple[int, ...]


def read_folders(real: str, fake: str, image_size: Size | None, n: int) -> tuple[Real, Dataset]:
    """The real side, and `n` of the fakes or as many as there are: all brought to one size, by default the reals'.

    A sub-folder `test` beside `train` is held out; sub-folders are classes. UsageError names the key at fault.
    """
    size, channels = _looks(real)
    size = image_size or size
    known = _section(real, channels, MOST_REAL)
    dataset = _build("real", known, size)
    made = _build("fake", _section(fake, channels, n), size)
    return find_real(dataclasses.replace(known, limit=None), size, dataset), made


def _section(path: str, channels: int, limit: int) -> Folder:
    return Folder(
        name="folder", path=path, limit=limit, classes=None, split="train", flip=False, image_channels=channels,
        background="white", labels=None, labels_file_column=None, labels_columns=None, labels_bins=None,
        labels_version=VERSION, cache=NO_CACHE, on_bad="error", balance=False,
    )  # fmt: skip


def _build(key: str, section: Folder, size: Size) -> Dataset:
    try:
        return build_dataset(section, size)
    except GanCliError as error:
        raise type(error)(str(error).replace("dataset.path", key)) from None


def _looks(path: str) -> tuple[Size, int]:
    """The size that most of the first pictures have, at most LARGEST, and 1 channel if all are grey, else 3."""
    try:
        seen = list(_headers(path))
    except GanCliError as error:
        raise type(error)(str(error).replace("dataset.path", "real")) from None
    if not seen:
        return 64, 3  # none can be read, as the data set will say
    (width, height), _ = Counter(size for size, _ in seen).most_common(1)[0]
    factor = min(1.0, LARGEST / max(width, height))
    size = (max(4, round(height * factor)), max(4, round(width * factor)))
    return size, 1 if all(mode in GREY for _, mode in seen) else 3


def _headers(path: str) -> Iterator[tuple[tuple[int, int], str]]:
    with pictures_at(path) as reader, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for file in reader.listing.files[:LOOKED_AT]:
            try:
                with Image.open(io.BytesIO(reader.read(file)), formats=FORMATS) as picture:
                    yield picture.size, picture.mode
            except (BadPicture, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
                continue


def check_folders(real: str | None, fake: str | None) -> tuple[str, str]:
    """Both; UsageError if one is missing."""
    if real is None or fake is None:
        missing, given = ("real", f"fake={fake}") if real is None else ("fake", f"real={real}")
        raise UsageError(f"{missing} is missing: {given} is to be compared with another folder, set {missing}=...")
    return real, fake
