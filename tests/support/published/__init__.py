"""Small copies of the published data sets: the same files, folders, index files and formats, but few images."""

from __future__ import annotations

import hashlib
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
    """The files of each data set, written when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: dict[str, dict[str, Split]] = {}

    def splits(self, name: str) -> dict[str, Split]:
        """Returns what must be loaded from the files of a data set, by split."""
        if name not in self._written:
            self._written[name] = WRITERS[name](self._folder / name)
        return self._written[name]

    def root(self, name: str) -> Path:
        """Returns the root folder of a data set, with its files as they are downloaded. It must not be changed."""
        self.splits(name)
        return self._folder / name

    def copy(self, name: str, root: Path, *, extracted: bool = False) -> Path:
        """Copies the files of a data set into the folder `root`, and extracts its archives if asked. Returns `root`."""
        shutil.copytree(self.root(name), root, dirs_exist_ok=True)
        if extracted:
            extract_archives(root)
        return root

    def md5(self, name: str) -> dict[str, str]:
        """Returns the md5 of each file of a data set, by the name of the file."""
        files = (path for path in self.root(name).rglob("*") if path.is_file())
        return {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in files}
