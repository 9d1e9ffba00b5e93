"""Options of data sets that are larger than the memory, and of those in the formats of Hugging Face."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from gan_cli.config.options.datasets import MAX_PIXELS, Fit, ImageOptions, ImageSize, image_shape
from gan_cli.config.options.fields import Integer, Name, Number, Text, matching, section
from gan_cli.errors import UsageError

BACKGROUND: Any = matching(
    r"white|black|#[0-9a-fA-F]{6}",
    "white, black or a colour as '#8090ff'",
    description="colour behind transparent pixels, and of clear ones with image_channels=4",
)


@section
class ConvertedImages(ImageOptions):
    """The keys of data sets whose images are converted to one size."""

    image_channels: Literal[1, 3, 4] = Field(description="1: grey, 3: RGB, 4: RGB and opacity")
    fit: Fit = Field(
        "crop",
        description="how images of other proportions than image_size are fitted: cut in the middle, padded with"
        " `background` (fit=pad), or stretched",
    )
    background: Text = BACKGROUND
    on_bad: Literal["error", "skip"] = Field(description="for an image that cannot be read: stop, or leave it out")
    max_pixels: Integer = Field(MAX_PIXELS, ge=1, le=2**40, description="most pixels of an image that is read")


@section
class WebDataset(ConvertedImages):
    path: Text | tuple[Name, ...] | None = Field(
        description="tar files (shards) of WebDataset's format: a pattern as train-{0000..0099}.tar, a folder of .tar"
        " files, addresses (https), or a list of these"
    )
    test_path: Text | tuple[Name, ...] | None = Field(
        None, description="shards of the test split, for evaluations; unless set none, or those of the folder named so"
    )
    image: Text | None = Field(None, description="suffix of the images, as png; unless set the only image of a sample")
    label: Text | None = Field(
        None,
        description="where the class of an image is: a suffix, as cls, or a key of its json, as json.label; none;"
        " unless set cls if there is one",
    )
    buffer: Integer = Field(
        100_000, ge=1, le=10**9, description="number of samples that are shuffled at a time, those of whole shards"
    )
    cache: Text = Field(
        "none", title="a folder, or none", description="folder of the indexes of shards, and of downloaded shards"
    )
    cache_size: Number = Field(20.0, gt=0, le=1e6, description="most gigabytes of downloaded shards that are kept")

    def sample_shape(self, image_size: ImageSize) -> tuple[int, ...]:
        if self.path is None:
            raise UsageError(
                "dataset.path is missing: set dataset.path=tar files of images, as shards/train-{0000..0099}.tar"
            )
        return image_shape(self.image_channels, image_size)


@section
class HuggingFace(ConvertedImages):
    extra: ClassVar[str] = "datasets"

    path: Text | None = Field(
        description="a folder that save_to_disk wrote, a parquet file or a folder of them, or a name on the hub, as"
        " owner/name"
    )
    split: Text = Field("train", description="which part of the data, by its name there")  # type: ignore[assignment]
    config: Text | None = Field(None, description="which configuration of a data set on the hub, if it has several")
    image: Text | None = Field(None, description="the column of the images; unless set the only one")
    label: Text | None = Field(
        None, description="the column of the classes; none; unless set the only one of ClassLabel, if there is one"
    )
    cache: Text = Field(
        "none",
        title="a folder, or none",
        description="folder of decoded images for the next run, which maps the file, or none",
    )

    def sample_shape(self, image_size: ImageSize) -> tuple[int, ...]:
        if self.path is None:
            raise UsageError(
                "dataset.path is missing: set dataset.path=a folder of save_to_disk, parquet files or owner/name"
            )
        return image_shape(self.image_channels, image_size)
