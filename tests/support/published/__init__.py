"""Small copies of the published data sets: the same files, folders, index files and formats, but few images."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from support.published import arrays, digits, photographs
from support.published.pictures import Split, extract_archives

# By the name of each data set: writes its files into a root folder, and returns its splits.
WRITERS: dict[str, Callable[[Path], dict[str, Split]]] = {
    "mnist": digits.write_mnist,
    "fashion_mnist": digits.write_fashion_mnist,
    "kmnist": digits.write_kmnist,
    "emnist": digits.write_emnist,
    "qmnist": digits.write_qmnist,
    "usps": digits.write_usps,
    "cifar10": arrays.write_cifar10,
    "cifar100": arrays.write_cifar100,
    "svhn": arrays.write_svhn,
    "stl10": arrays.write_stl10,
    "celeba": photographs.write_celeba,
    "lfw": photographs.write_lfw,
    "oxford_pets": photographs.write_oxford_pets,
    "lsun": photographs.write_lsun,
    "flowers102": photographs.write_flowers102,
    "food101": photographs.write_food101,
    "fgvc_aircraft": photographs.write_fgvc_aircraft,
    "eurosat": photographs.write_eurosat,
    "dtd": photographs.write_dtd,
    "imagenette": photographs.write_imagenette,
}


class PublishedFiles:
    """The files of each data set, written when they are first asked for, to be read only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: dict[str, dict[str, Split]] = {}

    def splits(self, name: str) -> dict[str, Split]:
        """Returns what must be loaded from the files of a data set, by split."""
        if name not in self._written:
            self._written[name] = WRITERS[name](self._folder / name)
        return self._written[name]

    def root(self, name: str) -> Path:
        """Returns the root folder of a data set, with its files as they are downloaded."""
        self.splits(name)
        return self._folder / name

    def extracted(self, name: str) -> Path:
        """Returns the root folder of a data set, with all archives extracted."""
        folder = self._folder / f"{name}-extracted"
        if not folder.exists():
            shutil.copytree(self.root(name), folder)
            extract_archives(folder)
        return folder
