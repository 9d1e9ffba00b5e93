"""Options of the published data sets, the number of samples of each, and the table of all data sets."""

from typing import ClassVar, Literal

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
from gan_cli.config.options.fields import Bool, Integer, Text, section

SAMPLES = {  # number of samples of the published data sets, by split
    "mnist": {"train": 60_000, "test": 10_000},
    "fashion_mnist": {"train": 60_000, "test": 10_000},
    "kmnist": {"train": 60_000, "test": 10_000},
    "qmnist": {"train": 60_000, "test": 60_000},
    "usps": {"train": 7_291, "test": 2_007},
    "cifar10": {"train": 50_000, "test": 10_000},
    "cifar100": {"train": 50_000, "test": 10_000},
    "svhn": {"train": 73_257, "test": 26_032, "extra": 531_131},
    "stl10": {"train": 5_000, "test": 8_000, "unlabeled": 100_000},
    "celeba": {"train": 162_770, "valid": 19_867, "test": 19_962, "all": 202_599},
    "lfw": {"train": 9_525, "test": 3_708, "all": 13_233},
    "oxford_pets": {"train": 3_680, "test": 3_669, "all": 7_349},
    "flowers102": {"train": 1_020, "val": 1_020, "test": 6_149, "all": 8_189},
    "food101": {"train": 75_750, "test": 25_250, "all": 101_000},
    "fgvc_aircraft": {"train": 6_667, "test": 3_333, "all": 10_000},
    "eurosat": {"train": 27_000},
    "dtd": {"train": 1_880, "val": 1_880, "test": 1_880, "all": 5_640},
    "imagenette": {"train": 9_469, "test": 3_925, "all": 13_394},
}
CLASSES = {  # number of classes of the data sets in which all classes have about equally many samples
    "fashion_mnist": 10,
    "kmnist": 10,
    "cifar10": 10,
    "cifar100": 100,
    "stl10": 10,
    "oxford_pets/breed": 37,
    "food101": 101,
    "fgvc_aircraft/variant": 100,
    "dtd": 47,
    "imagenette": 10,
}  # after a slash: the value of the key `target`


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
    "shapes": Shapes,
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
