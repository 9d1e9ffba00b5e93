"""Options of the published data sets that torchvision reads or describes, and the facts of all published data sets."""

import tomllib
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from gan_cli.config.options.datasets import (
    SPLIT,
    Folder,
    Grid,
    ImageOptions,
    ImageSize,
    Ring,
    Shapes,
    SwissRoll,
    check_drawn_bytes,
    image_shape,
)
from gan_cli.config.options.drawn_datasets import Avatars, Emoji, EmojiPairs
from gan_cli.config.options.fields import Bool, Integer, Text, section
from gan_cli.config.options.large_datasets import HuggingFace, WebDataset

# By name of the data set; the file says what its keys mean.
PUBLISHED: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


@section
class FileOptions(ImageOptions):
    """The keys that all published data sets have in common; CIFAR-10 and CIFAR-100 have no others."""

    root: Text = Field(description="folder of the files")
    download: Bool = Field(description="download the files if `root` lacks them")


@section
class GreyImages(FileOptions):
    """Fashion-MNIST, Kuzushiji-MNIST, QMNIST and USPS."""

    channels: ClassVar[int] = 1


@section
class Mnist(GreyImages):
    fallback: Literal["bundled", "error"] = Field(
        description="if they cannot be had: the bundled 5,000 digits, or an error"
    )


@section
class StackedMnist(Mnist):
    size: Integer = Field(ge=1, le=1_000_000, description="number of images drawn")
    digits: Integer = Field(
        3, ge=1, le=3, description="digits of an image, one per channel: 2 for 100 modes, 3 for 1000"
    )

    def sample_shape(self, image_size: ImageSize) -> tuple[int, ...]:
        return check_drawn_bytes(self.size, image_shape(self.digits, image_size))


@section
class Svhn(FileOptions):
    split: Literal["train", "test", "extra"] = SPLIT  # type: ignore[assignment]


@section
class Stl10(FileOptions):
    split: Literal["train", "test", "unlabeled"] = SPLIT  # type: ignore[assignment]


@section
class Emnist(GreyImages):
    subset: Literal["balanced", "byclass", "bymerge", "digits", "letters", "mnist"] = Field(
        description="which characters: digits; letters, 26 classes of either case; balanced or bymerge, 47 classes;"
        " byclass, 62"
    )


@section
class CachedFiles(FileOptions):
    """The keys that the published data sets of encoded images have in common; LSUN has no others."""

    cache: Text = Field(
        "none", description="folder of decoded images, which the next run maps instead of decoding again, or none"
    )


@section
class CelebA(CachedFiles):
    split: Literal["train", "valid", "test", "all"] = SPLIT  # type: ignore[assignment]


@section
class EuroSat(CachedFiles):
    split: Literal["train"] = Field("train", description="the whole of the data, which have no other split")


@section
class ImageFiles(CachedFiles):
    """Food-101."""

    split: Literal["train", "test", "all"] = SPLIT  # type: ignore[assignment]


@section
class Lfw(ImageFiles):
    alignment: Literal["original", "funneled", "deepfunneled"] = Field(description="how the faces are aligned")


@section
class OxfordPets(ImageFiles):
    target: Literal["breed", "species"] = Field(description="what the classes are: 37 breeds, or cat and dog")


@section
class FgvcAircraft(ImageFiles):
    target: Literal["variant", "family", "manufacturer"] = Field(
        description="what the classes are: 100 variants, 70 families or 30 manufacturers"
    )


@section
class Imagenette(ImageFiles):
    resolution: Literal["160px", "320px", "full"] = Field(
        description="length of the shorter side in the files that are downloaded"
    )


@section
class Flowers102(CachedFiles):
    split: Literal["train", "val", "test", "all"] = SPLIT  # type: ignore[assignment]


@section
class Dtd(Flowers102):
    partition: Integer = Field(ge=1, le=10, description="which of the ten published divisions into splits")


DATASET_OPTIONS: dict[str, type] = {
    "mnist": Mnist,
    "fashion_mnist": GreyImages,
    "kmnist": GreyImages,
    "stacked_mnist": StackedMnist,
    "cifar10": FileOptions,
    "cifar100": FileOptions,
    "svhn": Svhn,
    "stl10": Stl10,
    "folder": Folder,
    "webdataset": WebDataset,
    "huggingface": HuggingFace,
    "shapes": Shapes,
    "avatars": Avatars,
    "emoji": Emoji,
    "emoji_pairs": EmojiPairs,
    "ring": Ring,
    "grid": Grid,
    "swiss_roll": SwissRoll,
    "qmnist": GreyImages,
    "usps": GreyImages,
    "emnist": Emnist,
    "celeba": CelebA,
    "lsun": CachedFiles,
    "lfw": Lfw,
    "oxford_pets": OxfordPets,
    "flowers102": Flowers102,
    "food101": ImageFiles,
    "fgvc_aircraft": FgvcAircraft,
    "eurosat": EuroSat,
    "dtd": Dtd,
    "imagenette": Imagenette,
}
WITHOUT_SOURCES = frozenset(DATASET_OPTIONS) - {"folder", "emoji_pairs"}  # their samples have no source images
