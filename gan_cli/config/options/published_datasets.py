"""Options of the published data sets that torchvision reads or describes, and the facts of all published data sets."""

import tomllib
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from gan_cli.config.options.datasets import SPLIT, FileOptions
from gan_cli.config.options.fields import Integer, Text, section

# By name of the data set; the file says what its keys mean.
PUBLISHED: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


@section
class GreyFiles(FileOptions):
    """QMNIST and USPS."""

    channels: ClassVar[int] = 1


@section
class Emnist(GreyFiles):
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


PUBLISHED_OPTIONS: dict[str, type] = {
    "qmnist": GreyFiles,
    "usps": GreyFiles,
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
