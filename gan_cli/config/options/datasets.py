"""Options of the group `dataset`: the keys of each data set, and the shape of its samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gan_cli.config.schema import key
from gan_cli.errors import UsageError, one_line

MAX_DRAWN_BYTES = 4_000_000_000
ImageSize = int | tuple[int, ...] | None
CROP, FITS = "crop", ("crop", "pad", "stretch")
AUTO, FULL = "auto", "full"
COLOUR, DATA = "colour", "data"
CONVERT, IGNORE = "convert", "ignore"


def image_shape(channels: int, image_size: ImageSize) -> tuple[int, ...]:
    """Returns the shape `(channels, height, width)`. `image_size` is the side of square images, or (height, width).

    Raises UsageError if `image_size` is None.
    """
    if image_size is None:
        raise UsageError("image_size=null: expected a whole number, since this data set holds images")
    height, width = image_size if isinstance(image_size, tuple) else (image_size, image_size)
    return (channels, height, width)


def _check_drawn_bytes(size: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns `shape`. Raises UsageError if `size` images of this shape need more than MAX_DRAWN_BYTES."""
    needed = size * math.prod(shape)
    if needed > MAX_DRAWN_BYTES:
        raise UsageError(
            f"dataset.size={size}: samples of {'x'.join(map(str, shape))} need {needed:,} bytes, at most"
            f" {MAX_DRAWN_BYTES:,} are allowed"
        )
    return shape


@dataclass(frozen=True)
class DatasetOptions:
    """The keys that all data sets have in common."""

    name: str = key("the option's name")
    limit: int | None = key(
        "number of samples to use, a random choice that is always the same; all unless set",
        absent=None,
        at_least=1,
        at_most=10**9,
    )
    classes: tuple[str, ...] | None = key("the classes to use, as [cat,dog] or [3,5]; all unless set", absent=None)
    split: str = key("which part of the data", absent="train", choices=("train", "test"))
    balance: bool = key("draw each class equally often, whatever its number of samples", absent=False)


@dataclass(frozen=True)
class ImageOptions(DatasetOptions):
    """The keys that all data sets of images have in common."""

    channels: ClassVar[int] = 3
    flip: bool | str = key(
        "mirror each image half of the time: true: left to right, vertical: top to bottom, both: each independently",
        absent=False,
        word=("vertical", "both"),
    )

    def sample_shape(self, image_size: ImageSize) -> tuple[int, ...]:
        return image_shape(self.channels, image_size)


@dataclass(frozen=True)
class FileOptions(ImageOptions):
    """The keys that all published data sets have in common."""

    root: str = key("folder of the files")
    download: bool = key("download the files if `root` lacks them")


@dataclass(frozen=True)
class PointOptions(DatasetOptions):
    """The keys that all data sets of points in the plane have in common."""

    size: int = key("number of samples drawn", at_least=1, at_most=10_000_000)

    def sample_shape(self, image_size: ImageSize) -> tuple[int, ...]:
        return (2,)


# --- published images --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mnist(FileOptions):
    channels: ClassVar[int] = 1
    fallback: str = key("if they cannot be had: the bundled 5,000 digits, or an error", choices=("bundled", "error"))


@dataclass(frozen=True)
class GreyImages(FileOptions):
    """Fashion-MNIST and Kuzushiji-MNIST."""

    channels: ClassVar[int] = 1


@dataclass(frozen=True)
class StackedMnist(FileOptions):
    fallback: str = key("if they cannot be had: the bundled 5,000 digits, or an error", choices=("bundled", "error"))
    size: int = key("number of images drawn", at_least=1, at_most=1_000_000)
    digits: int = key(
        "digits of an image, one per channel: 2 for 100 modes, 3 for 1000", absent=3, at_least=1, at_most=3
    )

    def sample_shape(self, image_size: ImageSize) -> tuple[int, ...]:
        return _check_drawn_bytes(self.size, image_shape(self.digits, image_size))


@dataclass(frozen=True)
class Cifar(FileOptions):
    """CIFAR-10 and CIFAR-100."""


@dataclass(frozen=True)
class Svhn(FileOptions):
    split: str = key("which part of the data", absent="train", choices=("train", "test", "extra"))


@dataclass(frozen=True)
class Stl10(FileOptions):
    split: str = key("which part of the data", absent="train", choices=("train", "test", "unlabeled"))


# --- a folder of images ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Folder(ImageOptions):
    path: str | tuple[str, ...] | None = key(
        "a folder, zip or tar of images (png, jpg, webp, bmp, gif, tif, ppm, jp2, avif) or arrays (npy, npz), or one"
        " such file; sub-folders are classes; or several paths, as [cats,dogs]"
    )
    image_channels: int = key(
        "1: grey, 3: RGB, 4: RGB and opacity; with bands=data as many as the images have", at_least=1, at_most=64
    )
    fit: str = key(
        "how images of other proportions than image_size are fitted: cut in the middle, padded with `background`"
        " (fit=pad), or stretched",
        absent=CROP,
        choices=FITS,
    )
    value_range: str | tuple[float, ...] = key(
        "the values that become 0 and 255 in all images, as [0,4095]; full: 0 to 65535 for 16 bits; auto: full, or the"
        " range of the whole set if images of more than 8 bits use less than half of it",
        absent=FULL,
        choices=(AUTO, FULL),
        length=2,
    )
    bands: str = key(
        "colour: a fourth band is opacity, and grey and RGB are converted to image_channels; data: bands are"
        " measurements and stay as they are",
        absent=COLOUR,
        choices=(COLOUR, DATA),
    )
    profiles: str = key(
        "images with another colour profile than sRGB: convert them to it, or ignore the profile; auto: convert",
        absent=IGNORE,
        choices=(AUTO, CONVERT, IGNORE),
    )
    background: str = key(
        "colour behind transparent pixels, and of clear ones with image_channels=4: white, black or '#8090ff'",
        pattern=r"white|black|#[0-9a-fA-F]{6}",
        pattern_means="white, black or a colour as '#8090ff'",
    )
    labels: str | None = key(
        "a table of the labels of each image, by its path or its name in the zip; none; folders or shards: sub-folders"
        " are classes, or parts; unless set whatever is found, see explain=folder",
        absent=None,
    )
    labels_file_column: str | None = key(
        "the column of the table with the name of the image; the one that matches unless set", absent=None
    )
    labels_columns: tuple[str, ...] | None = key(
        "the columns of the table to use as attributes, as [breed]; all that are suitable unless set", absent=None
    )
    labels_bins: int | None = key(
        "number of ranges for a column of numbers, each a class, as 18..24",
        absent=None,
        at_least=2,
        at_most=1000,
    )
    labels_version: int = key(
        "how labels are found and ordered: 2, or 1 as in older runs (labels.csv and sub-folders only, 10 before 2)",
        absent=1,
        at_least=1,
        at_most=2,
    )
    cache: str = key(
        "folder of decoded images for the next run, which maps the file instead of holding it in memory, or none",
        absent="none",
        pattern=r"(?s).+",
        pattern_means="a folder, or none",
    )
    on_bad: str = key(
        "for an image that cannot be read: stop (error), or leave it out (skip)", choices=("error", "skip")
    )

    def sample_shape(self, image_size: ImageSize) -> tuple[int, ...]:
        if self.path is None:
            raise UsageError("dataset.path is missing: set dataset.path=a folder, zip or tar of images")
        if self.image_channels not in (1, 3, 4) and self.bands != DATA:
            raise UsageError(
                f"dataset.image_channels={self.image_channels}: expected 1 (grey), 3 (RGB) or 4 (RGB and opacity), or"
                f" dataset.bands=data for images of {self.image_channels} bands"
            )
        if isinstance(self.value_range, tuple) and self.value_range[0] >= self.value_range[1]:
            low, high = self.value_range
            raise UsageError(f"dataset.value_range=[{low:g},{high:g}]: expected the lower value first, as [0,4095]")
        return image_shape(self.image_channels, image_size)


# --- generated ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shapes(ImageOptions):
    size: int = key("number of samples drawn", at_least=1, at_most=1_000_000)
    image_channels: int = key(
        "1: grey, 8 modes; 2: the second channel is mirrored; 3: coloured, 24 modes", at_least=1, at_most=3
    )

    def sample_shape(self, image_size: ImageSize) -> tuple[int, ...]:
        return _check_drawn_bytes(self.size, image_shape(self.image_channels, image_size))


def _check_modes(classes: tuple[str, ...] | None, count: int) -> None:
    """Raises UsageError if a class is not a number from 0 to `count` - 1, the numbers of the modes."""
    known = {str(number) for number in range(count)}
    for name in classes or ():
        if name not in known:
            raise UsageError(f"dataset.classes: {one_line(name, 50)!r} is no mode, expected numbers 0 to {count - 1}")


@dataclass(frozen=True)
class Ring(PointOptions):
    modes: int = key("number of Gaussians, evenly spaced on the circle", at_least=1, at_most=1000)
    radius: float = key("radius of the circle", above=0, at_most=1000)
    std: float = key("standard deviation of each Gaussian along each axis", above=0, at_most=1000)

    def sample_shape(self, image_size: ImageSize) -> tuple[int, ...]:
        _check_modes(self.classes, self.modes)
        return (2,)


@dataclass(frozen=True)
class Grid(PointOptions):
    side: int = key("Gaussians along each axis", at_least=1, at_most=100)
    spacing: float = key("distance from one Gaussian to the next", above=0, at_most=1000)
    std: float = key("standard deviation of each Gaussian along each axis", above=0, at_most=1000)

    def sample_shape(self, image_size: ImageSize) -> tuple[int, ...]:
        _check_modes(self.classes, self.side**2)
        return (2,)


@dataclass(frozen=True)
class SwissRoll(PointOptions):
    std: float = key(
        "standard deviation of the noise, before the roll is scaled to about -2 to 2", at_least=0, at_most=100
    )


DATASET_OPTIONS: dict[str, type] = {
    "mnist": Mnist,
    "fashion_mnist": GreyImages,
    "kmnist": GreyImages,
    "stacked_mnist": StackedMnist,
    "cifar10": Cifar,
    "cifar100": Cifar,
    "svhn": Svhn,
    "stl10": Stl10,
    "folder": Folder,
    "shapes": Shapes,
    "ring": Ring,
    "grid": Grid,
    "swiss_roll": SwissRoll,
}
