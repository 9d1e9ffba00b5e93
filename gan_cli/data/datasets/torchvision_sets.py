"""The table of the data sets whose files torchvision lists or reads.

The classes of torchvision say which files there are, with addresses and checksums, and which image has which class.
The files are downloaded, verified, extracted and decoded by this package. No class in this table unpickles anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gan_cli.config.options.published_datasets import PUBLISHED
from gan_cli.data.datasets.downloaded_archives import PublishedFile

Settings = Mapping[str, Any]
AIRCRAFT_MD5 = "d4acdd33327262359767eeaa97a4f732"  # published beside the archive; torchvision has none
EUROSAT = "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/"
EUROSAT_MD5 = "c8fa014336c82ac7804f0398fcb19387"  # torchvision has it, and the address, inside a function only


class Found(NamedTuple):
    """Images of a data set, as paths or an array uint8 `[N, H, W]` or `[N, 3, H, W]`, and their classes."""

    images: Any
    labels: Any
    classes: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class TorchvisionSet:
    """A data set that the class `reader` of torchvision.datasets reads from `folder` in the root."""

    title: str
    reader: str
    folder: str = ""
    files: Callable[[Any, Settings], Sequence[PublishedFile]]  # returns those needed, given that class and the settings
    found: Callable[[Any, Settings], Found]  # returns what an object of the class holds
    # The split or splits of torchvision of which each split consists.
    splits: Mapping[str, Any] = field(default_factory=lambda: {"train": "train", "test": "test"})
    split_argument: str = "split"
    arguments: Mapping[str, str] = field(default_factory=dict)  # config keys, with the arguments of the class
    extra: str = ""  # the extra with the packages that the class needs
    needs_archive: bool = False
    cut_bottom: int = 0  # rows of each image that are cut off


def _at(url: str, md5: str, makes: str = "", gigabytes: int = 1) -> PublishedFile:
    prefix, _, name = url.rpartition("/")
    return PublishedFile(name=name, md5=md5, mirrors=(f"{prefix}/",), makes=makes, most_bytes=gigabytes << 30)


def _stem(url: str) -> str:
    """Returns the name of the archive at `url` without its ending."""
    return url.rpartition("/")[2].removesuffix(".tgz").removesuffix(".tar.gz")


def _lfw_files(reader: Any, settings: Settings) -> list[PublishedFile]:
    folder, archive, md5 = reader.file_dict[settings["alignment"]]
    people = f"people{reader.annot_file[TABLE['lfw'].splits[settings['split']]]}.txt"
    lists = [PublishedFile(name=name, md5=reader.checksums[name]) for name in (people, reader.names)]
    return [PublishedFile(name=archive, md5=md5, makes=folder), *lists]  # not offered for download


def _flower_files(reader: Any, settings: Settings) -> list[PublishedFile]:
    prefix, folders = reader._download_url_prefix, {"image": "jpg"}
    return [_at(prefix + name, md5, folders.get(kind, "")) for kind, (name, md5) in reader._file_dict.items()]


def _imagenette_files(reader: Any, settings: Settings) -> list[PublishedFile]:
    url, md5 = reader._ARCHIVES[settings["resolution"]]
    return [_at(url, md5, _stem(url), gigabytes=2)]


def _pets(found: Any, settings: Settings) -> Found:
    if settings["target"] == "species":
        return Found(found._images, found._bin_labels, _lower(found.bin_classes))
    return Found(found._images, found._labels, _lower(found.classes))


def _lower(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(str.lower, names))


def _listed(found: Any, settings: Settings) -> Found:
    return Found(found._image_files, found._labels, found.classes)


def _paired(samples: Sequence[tuple[Any, int]], classes: Sequence[str]) -> Found:
    return Found([path for path, _ in samples], [label for _, label in samples], classes)


def _split_list(reader: Any, settings: Settings) -> list[PublishedFile]:
    """Returns the one file of a split that `split_list` of SVHN and USPS names."""
    url, _, md5 = reader.split_list[settings["split"]]
    return [_at(url, md5, gigabytes=2)]


DIGITS = tuple("0123456789")
# The functions that return the files and the images of each data set.
FUNCTIONS: dict[str, tuple[Callable[[Any, Settings], Sequence[PublishedFile]], Callable[[Any, Settings], Found]]] = {
    "svhn": (_split_list, lambda found, _: Found(found.data, found.labels, DIGITS)),
    "usps": (_split_list, lambda found, _: Found(found.data, found.targets, DIGITS)),
    "lfw": (_lfw_files, lambda found, _: Found(found.data, found.targets, tuple(found.class_to_idx))),
    "oxford_pets": (lambda reader, _: [_at(url, md5, _stem(url)) for url, md5 in reader._RESOURCES], _pets),
    "flowers102": (_flower_files, _listed),
    "food101": (lambda reader, _: [_at(reader._URL, reader._MD5, "food-101", gigabytes=6)], _listed),
    "fgvc_aircraft": (lambda reader, _: [_at(reader._URL, AIRCRAFT_MD5, "fgvc-aircraft-2013b", gigabytes=3)], _listed),
    "eurosat": (
        lambda *_: [_at(f"{EUROSAT}EuroSAT.zip", EUROSAT_MD5, "2750")],
        lambda found, _: _paired(found.samples, found.classes),
    ),
    "dtd": (lambda reader, _: [_at(reader._URL, reader._MD5, "dtd")], _listed),
    "imagenette": (
        _imagenette_files,
        lambda found, _: _paired(found._samples, _lower([names[0] for names in found.classes])),
    ),
}
TABLE = {
    name: TorchvisionSet(files=files, found=found, **PUBLISHED[name]["source"])
    for name, (files, found) in FUNCTIONS.items()
}
