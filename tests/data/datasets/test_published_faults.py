"""What is wrong with the files of a published data set is said in one line, and nothing outside of its root is touched."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path

import pytest

from gan_cli.data.dataset import Dataset
from gan_cli.data.load_dataset import build_dataset
from support.configs import dataset_section
from support.errors import refused
from support.published import WRITERS, PublishedFiles
from support.published.checksums import use_small_copies

OPTIONS = {"mnist": {"fallback": "error"}, "lfw": {"split": "all"}}
# What users must put into the root for the training split, or for all images of LFW, relative to the root.
NEEDED = {
    "mnist": ["MNIST/raw/train-images-idx3-ubyte.gz", "MNIST/raw/train-labels-idx1-ubyte.gz"],
    "fashion_mnist": ["FashionMNIST/raw/train-images-idx3-ubyte.gz", "FashionMNIST/raw/train-labels-idx1-ubyte.gz"],
    "kmnist": ["KMNIST/raw/train-images-idx3-ubyte.gz", "KMNIST/raw/train-labels-idx1-ubyte.gz"],
    "emnist": ["EMNIST/raw/gzip.zip"],
    "qmnist": ["QMNIST/raw/qmnist-train-images-idx3-ubyte.gz", "QMNIST/raw/qmnist-train-labels-idx2-int.gz"],
    "usps": ["usps.bz2"],
    "cifar10": ["cifar-10-binary.tar.gz"],
    "cifar100": ["cifar-100-binary.tar.gz"],
    "svhn": ["train_32x32.mat"],
    "stl10": ["stl10_binary.tar.gz"],
    "celeba": ["celeba/img_align_celeba.zip", "celeba/list_eval_partition.txt"],
    "lfw": ["lfw-py/lfw-funneled.tgz", "lfw-py/people.txt", "lfw-py/lfw-names.txt"],
    "oxford_pets": ["oxford-iiit-pet/images.tar.gz", "oxford-iiit-pet/annotations.tar.gz"],
    "lsun": ["bedroom_train_lmdb"],
    "flowers102": ["flowers-102/102flowers.tgz", "flowers-102/imagelabels.mat", "flowers-102/setid.mat"],
    "food101": ["food-101.tar.gz"],
    "fgvc_aircraft": ["fgvc-aircraft-2013b.tar.gz"],
    "eurosat": ["eurosat/EuroSAT.zip"],
    "dtd": ["dtd/dtd-r1.0.1.tar.gz"],
    "imagenette": ["imagenette2-160.tgz"],
}
TARS = ("lfw", "oxford_pets", "flowers102", "food101", "fgvc_aircraft", "dtd", "imagenette")


def load(root: Path, name: str) -> Dataset:
    section = dataset_section(name, root=str(root), download=False, **OPTIONS.get(name, {}))
    return build_dataset(section, (16, 16))


@pytest.fixture(autouse=True)
def _nothing_is_unpickled(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **settings: object) -> None:
        raise AssertionError("unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, fail)


@pytest.mark.parametrize("name", NEEDED)
def test_missing_files_are_named(tmp_path: Path, name: str) -> None:
    root = tmp_path / "nowhere"
    text = refused(partial(load, root, name), f"dataset.root={root}: ", " is not there and ", "; put ")
    files = text.rpartition("; put ")[2]
    for path in NEEDED[name]:
        assert Path(path).name in files
        assert files.endswith(f" into {(root / path).parent}")
    assert list(tmp_path.iterdir()) == []
    assert set(NEEDED) == set(WRITERS)


@pytest.mark.parametrize("name", set(NEEDED) - {"lsun"})
@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>Not found</html>", b""], ids=["a page of HTML", "empty"])
def test_something_else_in_place_of_a_file(
    published: PublishedFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes
) -> None:
    use_small_copies(monkeypatch, published.md5(name))
    for number, path in enumerate(NEEDED[name]):
        root = published.copy(name, tmp_path / str(number))
        (root / path).write_bytes(content)
        refused(partial(load, root, name), Path(path).name)
        assert not list(root.rglob(".part-*"))


@pytest.mark.parametrize("name", set(NEEDED) - {"lsun"})
def test_a_file_that_is_cut(
    published: PublishedFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whether the file has the published checksum or not."""
    for number, path in enumerate(NEEDED[name]):
        if path.endswith(".txt"):
            continue
        root = published.copy(name, tmp_path / str(number))
        whole = (root / path).read_bytes()
        (root / path).write_bytes(whole[: len(whole) // 2])
        use_small_copies(monkeypatch, published.md5(name))
        refused(partial(load, root, name), Path(path).name)
