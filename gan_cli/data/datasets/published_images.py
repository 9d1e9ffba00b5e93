"""Decodes the encoded images of published data sets, and caches the result."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets.downloaded_archives import damaged_file_error
from gan_cli.data.decoding.conversion import ImageOutcome, TargetFormat
from gan_cli.data.folder import cache_entry, decode_layout
from gan_cli.data.image_store import cached_or_locked
from gan_cli.data.selection import Selection
from gan_cli.data.source_description import describe_unusable
from gan_cli.errors import UsageError, count_noun, one_line
from gan_cli.image_files.folder_reader import read_image_file
from gan_cli.image_files.formats import BadImageError
from gan_cli.image_files.listing import ListedFile, Listing
from gan_cli.image_labels.folder_classes import Layout


@dataclass
class PublishedImages:
    """Reads the image files of a published data set."""

    most_unusable = 0.01  # largest share of images that may be unusable; they are left out

    title: str
    split: str
    folder: Path
    cut_bottom: int = 0  # lowest rows of each image that are cut off
    native: tuple[int, int] | None = None  # if given, each image must be a JPEG of this (width, height)
    read: Callable[[ListedFile], bytes] = lambda file: read_image_file(file.location)

    def __post_init__(self) -> None:
        self.listing = Listing(f"{self.title}{'' if self.split == 'train' else f' ({self.split})'} in {self.folder}")

    def load(
        self,
        layout: Callable[[], Layout],
        image_size: tuple[int, int],
        selection: Selection,
        cache: str,
        paths: Sequence[str],
        *settings: object,
    ) -> Dataset:
        """Returns the selected images in colour, which depend on `paths` and `settings`, from the cache or decoded."""
        target = TargetFormat(image_size, channels=3, background="white")
        entry = cache_entry(cache, paths, (), *settings, target, selection)
        with cached_or_locked(entry) as cached:
            if cached is not None:
                return cached
            return decode_layout(self, layout(), entry, target, selection, self._check, "dataset.root")

    def read_image(self, file: ListedFile) -> bytes | np.ndarray:
        """Reads an image as bytes, or as uint8 `[H, W, 3]` if it is cut or checked. Raises BadImageError."""
        content = self.read(file)
        if not self.cut_bottom and self.native is None:
            return content
        try:
            with Image.open(io.BytesIO(content), formats=self.native and ("JPEG",)) as image:
                if self.native in (None, image.size):
                    return np.asarray(image.convert("RGB"))[: image.height - self.cut_bottom]
                width, height = image.size
        except Exception as error:  # a decoder may raise nearly anything on damaged bytes
            raise BadImageError(f"cannot be decoded ({one_line(error, 100)})") from error
        right = "x".join(map(str, self.native))
        raise BadImageError(
            f"is {width}x{height}, {self.title}'s are {right}; for images of your own use dataset=folder"
        )

    def _check(self, files: Sequence[ListedFile], outcomes: Sequence[ImageOutcome]) -> None:
        """Raises UsageError if more than a small share of the images is unusable, or if there is no image."""
        bad = sum(outcome.bad is not None for outcome in outcomes)
        if not files:
            raise UsageError(f"dataset.root: {self.listing.shown}: its lists name no image; get the lists again")
        if bad > self.most_unusable * len(files):
            many = (
                f"{bad:,} of {count_noun(len(files), 'image')} cannot be used: {describe_unusable(files, outcomes, 3)}"
            )
            raise damaged_file_error(f"dataset.root: {self.listing.shown}", many)
