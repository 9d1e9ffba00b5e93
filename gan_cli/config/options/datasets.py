"""Options of the group `dataset`: the keys of each data set, and the shape of its samples."""

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from gan_cli.config.options.fields import Bool, Integer, Name, Number, OptionName, Several, Text, matching, section
from gan_cli.errors import UsageError, one_line

MAX_DRAWN_BYTES = 4_000_000_000
ImageSize = int | tuple[int, ...] | None
CROP = "crop"
SPLIT: Any = Field("train", description="which part of the data")
Fit = Literal["crop", "pad", "stretch"]
AUTO, FULL = "auto", "full"
COLOUR, DATA = "colour", "data"
IGNORE = "ignore"
MAX_PIXELS, MAX_PIXELS_BEFORE = 64_000_000, 178_956_970  # of an image: unless set, and in runs from before the key
# Keys of the section dataset: with this value, the default, a resumed run keeps its own value, also if it is older.
AUTO_OF_DATA = {"value_range": AUTO, "profiles": "auto", "follow_links": False, "max_pixels": MAX_PIXELS, "pairs": AUTO}


def image_shape(channels: int, image_size: ImageSize) -> tuple[int, ...]:
    """Returns the shape `(channels, height, width)`. `image_size` is the side of square images, or (height, width).

    Raises UsageError if `image_size` is None.
    """
    if image_size is None:
        raise UsageError("image_size=null: expected a whole number, since this data set holds images")
    height, width = image_size if isinstance(image_size, tuple) else (image_size, image_size)
    return (channels, height, width)


def check_drawn_bytes(size: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns `shape`. Raises UsageError if `size` images of this shape need more than MAX_DRAWN_BYTES."""
    needed = size * math.prod(shape)
    if needed > MAX_DRAWN_BYTES:
        raise UsageError(
            f"dataset.size={size}: samples of {'x'.join(map(str, shape))} need {needed:,} bytes, at most"
            f" {MAX_DRAWN_BYTES:,} are allowed"
        )
    return shape


@section
class DatasetOptions:
    """The keys that all data sets have in common."""

    name: OptionName
    limit: Integer | None = Field(
        None,
        ge=1,
        le=10**9,
        description="number of samples to use, a random choice that is always the same; all unless set",
    )
    classes: Several[Name] | None = Field(None, description="the classes to use, as [cat,dog] or [3,5]; all unless set")
    split: Literal["train", "test"] = SPLIT
    balance: Bool = Field(False, description="draw each class equally often, whatever its number of samples")


@section
class ImageOptions(DatasetOptions):
    """The keys that all data sets of images have in common."""

    channels: ClassVar[int] = 3
    flip: Bool | Literal["vertical", "both"] = Field(
        False,
        description="mirror each image half of the time: true: left to right, vertical: top to bottom, both: each"
        " independently",
    )

    def sample_shape(self, image_size: ImageSize) -> tuple[int, ...]:
        return image_shape(self.channels, image_size)


@section
class PointOptions(DatasetOptions):
    """The keys that all data sets of points in the plane have in common."""

    size: Integer = Field(ge=1, le=10_000_000, description="number of samples drawn")

    def sample_shape(self, image_size: ImageSize) -> tuple[int, ...]:
        return (2,)


# --- a folder of images ------------------------------------------------------------------------------------------


@section
class Folder(ImageOptions):
    path: Text | tuple[Name, ...] | None = Field(
        description="a folder, zip or tar of images (png, jpg, webp, bmp, gif, tif, ppm, jp2, avif) or arrays (npy,"
        " npz), or one such file; sub-folders are classes; or several paths, as [cats,dogs]"
    )
    image_channels: Integer = Field(
        ge=1, le=64, description="1: grey, 3: RGB, 4: RGB and opacity; with bands=data as many as the images have"
    )
    fit: Fit = Field(
        "crop",
        description="how images of other proportions than image_size are fitted: cut in the middle, padded with"
        " `background` (fit=pad), or stretched",
    )
    value_range: Literal["auto", "full"] | Annotated[tuple[Number, ...], Field(min_length=2, max_length=2)] = Field(
        "full",
        description="the values that become 0 and 255 in all images, as [0,4095]; full: 0 to 65535 for 16 bits; auto:"
        " full, or the range of the whole set if images of more than 8 bits use less than half of it",
    )
    bands: Literal["colour", "data"] = Field(
        "colour",
        description="colour: a fourth band is opacity, and grey and RGB are converted to image_channels; data: bands"
        " are measurements and stay as they are",
    )
    profiles: Literal["auto", "convert", "ignore"] = Field(
        "ignore",
        description="images with another colour profile than sRGB: convert them to it, or ignore the profile; auto:"
        " convert",
    )
    background: Text = matching(
        r"white|black|#[0-9a-fA-F]{6}",
        "white, black or a colour as '#8090ff'",
        description="colour behind transparent pixels, and of clear ones with image_channels=4: white, black or"
        " '#8090ff'",
    )
    labels: Text | None = Field(
        None,
        description="a table of the labels of each image, by its path or its name in the zip; none; folders or"
        " shards: sub-folders are classes, or parts; unless set whatever is found, see explain=folder",
    )
    labels_file_column: Text | None = Field(
        None, description="the column of the table with the name of the image; the one that matches unless set"
    )
    labels_columns: Several[Name] | None = Field(
        None, description="the columns of the table to use as attributes, as [breed]; all that are suitable unless set"
    )
    labels_bins: Integer | None = Field(
        None, ge=2, le=1000, description="number of ranges for a column of numbers, each a class, as 18..24"
    )
    labels_version: Integer = Field(
        1,
        ge=1,
        le=2,
        description="how labels are found and ordered: 2, or 1 as in older runs (labels.csv and sub-folders only, 10"
        " before 2)",
    )
    cache: Text = Field(
        "none",
        title="a folder, or none",
        description="folder of decoded images for the next run, which maps the file instead of holding it in memory,"
        " or none",
    )
    on_bad: Literal["error", "skip"] = Field(description="for an image that cannot be read: stop, or leave it out")
    follow_links: Bool = Field(True, description="read also what links name that lead out of the folder")
    max_pixels: Integer = Field(MAX_PIXELS_BEFORE, ge=1, le=2**40, description="most pixels of an image that is read")
    pairs: Literal["auto", "side_by_side", "none"] = Field(
        "none",
        description="source images for task=translation: auto: images of the same names in sub-folders A and B, trainA"
        " and trainB, or train/A and train/B, if there are any; side_by_side: the left half of each file is the"
        " source of its right half; none: sub-folders are classes",
    )
    direction: Literal["AtoB", "BtoA"] = Field(
        "AtoB", description="AtoB: images of A, or left halves, are the sources of those of B; BtoA: the reverse"
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
            raise UsageError(
                f"dataset.value_range=[{low:.10g},{high:.10g}]: expected the lower value first, as [0,4095]"
            )
        return image_shape(self.image_channels, image_size)


# --- generated ---------------------------------------------------------------------------------------------------


@section
class Shapes(ImageOptions):
    size: Integer = Field(ge=1, le=1_000_000, description="number of samples drawn")
    image_channels: Integer = Field(
        ge=1, le=3, description="1: grey, 8 modes; 2: the second channel is mirrored; 3: coloured, 24 modes"
    )

    def sample_shape(self, image_size: ImageSize) -> tuple[int, ...]:
        return check_drawn_bytes(self.size, image_shape(self.image_channels, image_size))


def _check_modes(classes: tuple[str, ...] | None, count: int) -> None:
    """Raises UsageError if a class is not a number from 0 to `count` - 1, the numbers of the modes."""
    known = {str(number) for number in range(count)}
    for name in classes or ():
        if name not in known:
            raise UsageError(f"dataset.classes: {one_line(name, 50)!r} is no mode, expected numbers 0 to {count - 1}")


@section
class Ring(PointOptions):
    modes: Integer = Field(ge=1, le=1000, description="number of Gaussians, evenly spaced on the circle")
    radius: Number = Field(gt=0, le=1000, description="radius of the circle")
    std: Number = Field(gt=0, le=1000, description="standard deviation of each Gaussian along each axis")

    def sample_shape(self, image_size: ImageSize) -> tuple[int, ...]:
        _check_modes(self.classes, self.modes)
        return (2,)


@section
class Grid(PointOptions):
    side: Integer = Field(ge=1, le=100, description="Gaussians along each axis")
    spacing: Number = Field(gt=0, le=1000, description="distance from one Gaussian to the next")
    std: Number = Field(gt=0, le=1000, description="standard deviation of each Gaussian along each axis")

    def sample_shape(self, image_size: ImageSize) -> tuple[int, ...]:
        _check_modes(self.classes, self.side**2)
        return (2,)


@section
class SwissRoll(PointOptions):
    std: Number = Field(
        ge=0, le=100, description="standard deviation of the noise, before the roll is scaled to about -2 to 2"
    )
