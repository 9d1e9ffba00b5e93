"""Replaces the published addresses and checksums of data sets by those of their small copies."""

from __future__ import annotations

import re
from typing import Any

import pytest

UNREACHABLE = "http://127.0.0.1:9/"
# Attributes of the classes of torchvision.datasets that hold addresses, and names of files beside their checksums.
TABLES = {
    "FashionMNIST": ("mirrors", "resources"),
    "KMNIST": ("mirrors", "resources"),
    "QMNIST": ("resources",),
    "SVHN": ("split_list",),
    "USPS": ("split_list",),
    "LFWPeople": ("file_dict", "checksums"),
    "OxfordIIITPet": ("_RESOURCES",),
    "Flowers102": ("_file_dict", "_download_url_prefix"),
    "Imagenette": ("_ARCHIVES",),
}
PAIRS = {"EMNIST": ("url", "md5"), "Food101": ("_URL", "_MD5"), "DTD": ("_URL", "_MD5")}


def use_small_copies(patch: pytest.MonkeyPatch, md5: dict[str, str], address: str = UNREACHABLE) -> None:
    """Makes all data sets expect files of these checksums, by name, and download them from `address` alone.

    Where there are several mirrors, the first cannot be reached. A file that is not in `md5` keeps its checksum.
    """
    from torchvision import datasets  # takes long to import

    from gan_cli.data.datasets import torchvision_sets
    from gan_cli.data.datasets.cifar import CIFAR10, CIFAR100
    from gan_cli.data.datasets.mnist_family import MNIST
    from gan_cli.data.datasets.stl10 import STL10

    for reader, attributes in TABLES.items():
        for name in attributes:
            found = getattr(datasets, reader)
            patch.setattr(found, name, _replaced(getattr(found, name), md5, address))
    for reader, (url, checksum) in PAIRS.items():
        found = getattr(datasets, reader)
        new = _replaced((getattr(found, url), getattr(found, checksum)), md5, address)
        patch.setattr(found, url, new[0])
        patch.setattr(found, checksum, new[1])
    patch.setattr(datasets.FGVCAircraft, "_URL", _replaced(datasets.FGVCAircraft._URL, md5, address))
    patch.setattr(torchvision_sets, "AIRCRAFT_MD5", md5.get("fgvc-aircraft-2013b.tar.gz"))
    patch.setattr(torchvision_sets, "EUROSAT", address)
    patch.setattr(torchvision_sets, "EUROSAT_MD5", md5.get("EuroSAT.zip"))
    for archive in (CIFAR10, CIFAR100, STL10):
        patch.setitem(vars(archive), "md5", md5.get(archive.name, archive.md5))
    patch.setitem(vars(MNIST), "md5", {name: md5.get(f"{name}.gz", old) for name, old in MNIST.md5.items()})
    for source in (CIFAR10, CIFAR100, STL10, MNIST):
        patch.setitem(vars(source), "mirrors", (UNREACHABLE, address))


def _replaced(value: Any, md5: dict[str, str], address: str) -> Any:
    """Returns a table with other addresses, and with other checksums of the files in `md5`."""
    if isinstance(value, dict):
        return {key: md5.get(key) or _replaced(each, md5, address) for key, each in value.items()}
    if isinstance(value, str):
        return address + value.rpartition("/")[2] if value.startswith("http") else value
    names = [item.rpartition("/")[2] for item in value if isinstance(item, str)]
    known = next((md5[name] for name in names if name in md5), None)

    def new(item: Any) -> Any:
        is_checksum = known and isinstance(item, str) and re.fullmatch("[0-9a-f]{32}", item)
        return known if is_checksum else _replaced(item, md5, address)

    return type(value)(map(new, value))
