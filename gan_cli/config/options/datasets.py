"""The data sets that can be chosen: what each takes, and the shape of its samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gan_cli.config.schema import key
from gan_cli.errors import UsageError, one_line

MOST_DRAWN_BYTES = 4_000_000_000
ImageSize = int | tuple[int, ...] | None
CROP, FITS = "crop", ("crop", "pad", "stretch")
AUTO, FULL = "auto", "full"
COLOUR, DATA = "colour", "data"
CONVERT, IGNORE = "convert", "ignore"


def image_shape(channels: int, image_size: ImageSize) -> tuple[int, ...]:
    """`(C, H, W)` for a side or `[height, width]`."""
    if image_size is None:
        raise UsageError("image_size=null: expected a whole number, since this data set holds images")
    height, width = image_size if isinstance(image_size, tuple) else (image_size, image_size)
    return (channels, height, width)


def _bounded(size: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape; UsageError if so many images of it are more than is drawn."""
    needed = size * math.prod(shape)
    if needed > MOST_DRAWN_BYTES:
        raise UsageError(
            f"dataset.size={size}: of {'x'.join(map(str, shape))} these are {needed:,} bytes, at most"
            f" {MOST_DRAWN_BYTES:,} are drawn"
        )
    return shape


@dataclass(frozen=True)
class DatasetOptions:
    """What every data set takes."""

    name: str = key("the option's name")
    limit: int | None = key(
        "how many samples to keep, chosen at random but always the same; all unless set",
        absent=None,
        at_least=1,
        at_most=10**9,
    )
    classes: tuple[str, ...] | None = key("the classes to keep, as [cat,dog] or [3,5]; all unless set", absent=None)
    split: str = key("which part of the data", absent="train", choices=("train", "test"))
    balance: bool = key("draw each class equally often, however many samples it has", absent=False)


@dataclass(frozen=True)
class ImageOptions(DatasetOptions):
    """What every data set of images takes."""

    channels: ClassVar[int] = 3
    flip: bool | str = key(
        "show each image mirrored half of the time: true left to right, vertical top to bottom, both each by itself",
        absent=False,
        word=("vertical", "both"),
    )

    def sample_shape(self, image_size: ImageSize) -> tuple[int, ...]:
        return image_shape(self.channels, image_size)


@dataclass(frozen=True)
class FileOptions(ImageOptions):
    """What every published data set takes."""

    root: str = key("folder that holds or receives the files")
    download: bool = key("fetch the files if `root` lacks them")


@dataclass(frozen=True)
class PointOptions(DatasetOptions):
    """What every data set of points in the plane takes."""

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
    size: int = key("number of images drawn, each of so many digits", at_least=1, at_most=1_000_000)
    digits: int = key(
        "digits of an image, each a channel: 2 for 100 modes, 3 for 1000", absent=3, at_least=1, at_most=3
    )

    def sample_shape(self, image_size: ImageSize) -> tuple[int, ...]:
        return _bounded(self.size, image_shape(self.digits, image_size))


@dataclass(frozen=True)
class Cifar(FileOptions):
    """CIFAR-10 and CIFAR-100."""


@dataclass(frozen=True)
class Svhn(FileOptions):
    split: str = key("which part of the data", absent="train", choices=("train", "test", "extra"))


@dataclass(frozen=True)
class Stl10(FileOptions):
    split: str = key("which part of the data", absent="train", choices=("train", "test", "unlabeled"))


@dataclass(frozen=True)
class CelebA(FileOptions):
    split: str = key("which part of the data", absent="train", choices=("train", "valid", "test", "all"))


# --- a person's own ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Folder(ImageOptions):
    path: str | tuple[str, ...] | None = key(
        "a folder, zip or tar of pictures (png, jpg, webp, bmp, gif, tif, ppm, jp2, avif) or arrays (npy, npz), or one"
        " of these; its sub-folders are classes; or several, as [cats,dogs]"
    )
    image_channels: int = key(
        "1: grey, 3: RGB, 4: RGB and opacity; with bands=data as many as the pictures have", at_least=1, at_most=64
    )
    fit: str = key(
        "pictures of other proportions than image_size are cut in the middle, padded with `background` (fit=pad), or"
        " stretched",
        absent=CROP,
        choices=FITS,
    )
    value_range: str | tuple[float, ...] = key(
        "the values of all pictures that become 0 and 255, as [0,4095]; full: 0 to 65535 of 16 bits; auto: full, or the"
        " range of the whole set if deep pictures leave more than half of it unused",
        absent=FULL,
        choices=(AUTO, FULL),
        length=2,
    )
    bands: str = key(
        "colour: a fourth band is opacity, and grey and RGB are made what image_channels asks for; data: bands are"
        " measurements, each kept as it is",
        absent=COLOUR,
        choices=(COLOUR, DATA),
    )
    profiles: str = key(
        "pictures with another colour profile than sRGB: converted to it, or their profile ignored; auto: converted",
        absent=IGNORE,
        choices=(AUTO, CONVERT, IGNORE),
    )
    background: str = key(
        "what transparent pixels stand on, and their colour with image_channels=4: white, black or as '#8090ff'",
        pattern=r"white|black|#[0-9a-fA-F]{6}",
        pattern_means="white, black or a colour as '#8090ff'",
    )
    labels: str | None = key(
        "a table of what each picture shows, by its path or its name in the zip; none; folders or shards: sub-folders"
        " are classes, or parts; unless set what is found, see explain=folder",
        absent=None,
    )
    labels_file_column: str | None = key(
        "the column of the table that names the picture; that which fits unless set", absent=None
    )
    labels_columns: tuple[str, ...] | None = key(
        "the columns of the table to take as attributes, as [breed]; all that can be unless set", absent=None
    )
    labels_bins: int | None = key(
        "numbers of a column are put into so many ranges, each a class, as 18..24",
        absent=None,
        at_least=2,
        at_most=1000,
    )
    labels_version: int = key(
        "how labels are found and ordered: 2, or 1 as runs did before (labels.csv and sub-folders alone, 10 before 2)",
        absent=1,
        at_least=1,
        at_most=2,
    )
    cache: str = key(
        "a folder where decoded pictures are kept for the next run, which maps them instead of holding them, or none",
        absent="none",
        pattern=r"(?s).+",
        pattern_means="a folder, or none",
    )
    on_bad: str = key("at a picture that cannot be read: stop, or leave it out", choices=("error", "skip"))

    def sample_shape(self, image_size: ImageSize) -> tuple[int, ...]:
        if self.path is None:
            raise UsageError("dataset.path is missing: set dataset.path=a folder, zip or tar of pictures")
        if self.image_channels not in (1, 3, 4) and self.bands != DATA:
            raise UsageError(
                f"dataset.image_channels={self.image_channels}: expected 1 (grey), 3 (RGB) or 4 (RGB and opacity), or"
                f" dataset.bands=data for pictures of {self.image_channels} bands"
            )
        if isinstance(self.value_range, tuple) and self.value_range[0] >= self.value_range[1]:
            low, high = self.value_range
            raise UsageError(f"dataset.value_range=[{low:g},{high:g}]: expected the lower value first, as [0,4095]")
        return image_shape(self.image_channels, image_size)


# --- drawn -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shapes(ImageOptions):
    size: int = key("number of samples drawn", at_least=1, at_most=1_000_000)
    image_channels: int = key(
        "1: grey, 8 modes; 2: mirrored in the second; 3: coloured, 24 modes", at_least=1, at_most=3
    )

    def sample_shape(self, image_size: ImageSize) -> tuple[int, ...]:
        return _bounded(self.size, image_shape(self.image_channels, image_size))


def _check_modes(classes: tuple[str, ...] | None, count: int) -> None:
    """UsageError for a class that is not the number of a mode."""
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
    spacing: float = key("from one Gaussian to the next", above=0, at_most=1000)
    std: float = key("standard deviation of each Gaussian along each axis", above=0, at_most=1000)

    def sample_shape(self, image_size: ImageSize) -> tuple[int, ...]:
        _check_modes(self.classes, self.side**2)
        return (2,)


@dataclass(frozen=True)
class SwissRoll(PointOptions):
    std: float = key(
        "standard deviation of the noise, before the roll is scaled to about -2 to 2", at_least=0, at_most=100
    )


DATASETS: dict[str, type] = {
    "mnist": Mnist,
    "fashion_mnist": GreyImages,
    "kmnist": GreyImages,
    "stacked_mnist": StackedMnist,
    "cifar10": Cifar,
    "cifar100": Cifar,
    "svhn": Svhn,
    "stl10": Stl10,
    "celeba": CelebA,
    "folder": Folder,
    "shapes": Shapes,
    "ring": Ring,
    "grid": Grid,
    "swiss_roll": SwissRoll,
}
