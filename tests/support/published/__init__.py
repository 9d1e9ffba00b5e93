"""Small copies of the published data sets: the same files, folders, index files and formats, but few images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from support.published import arrays, digits, photographs
from support.published.pictures import Split

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
