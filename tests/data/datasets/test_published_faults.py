"""What is wrong with published files is said in one line, and nothing outside of the root is touched."""

from __future__ import annotations

import hashlib
import importlib
import pickle
import sys
import tarfile
import zipfile
from functools import partial
from pathlib import Path

import pytest

from gan_cli.data.dataset import Dataset
from gan_cli.data.load_dataset import build_dataset
from support.configs import dataset_section
from support.errors import refused
from support.published import WRITERS, PublishedFiles
from support.published.checksums import use_small_copies
from support.published.pictures import read_tar, special_member, write_tar

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


def load(root: Path, name: str) -> Dataset:
    section = dataset_section(name, root=str(root), download=False, **OPTIONS.get(name, {}))
    return build_dataset(section, (16, 16))


@pytest.fixture(autouse=True)
def _nothing_is_unpickled(monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("torchvision.datasets")  # some of what it imports derives classes from Unpickler

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


@pytest.mark.parametrize("name", ["mnist", "cifar10", "celeba", "dtd", "lsun"])
def test_a_root_that_is_a_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / "file"
    file.touch()
    for root in (file, file / "below"):
        refused(partial(load, root, name), f"dataset.root={root}: {file} is a file, expected a folder")


@pytest.mark.parametrize("content", [None, b"<html>\n"], ids=["missing", "no list"])
def test_a_damaged_list_among_extracted_files(published: PublishedFiles, tmp_path: Path, content: bytes | None) -> None:
    """The messages of Python and torchvision do not reach the user."""
    root = published.copy("dtd", tmp_path, extracted=True)
    path = next(root.rglob("train1.txt"))
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    text = refused(
        partial(load, root, "dtd"), f"dataset.root={root}: ", " is damaged or incomplete", "; delete dtd in "
    )
    assert (f" is damaged or incomplete ({path}: No such file or directory); delete" in text) == (content is None)
    assert "Errno" not in text


@pytest.mark.parametrize("name", [name for name in NEEDED if name != "lsun"])
@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>Not found</html>", b""], ids=["a page of HTML", "empty"])
def test_something_else_in_place_of_a_file(
    published: PublishedFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes
) -> None:
    use_small_copies(monkeypatch, published.md5(name))
    for number, path in enumerate(NEEDED[name]):
        root = published.copy(name, tmp_path / str(number))
        (root / path).write_bytes(content)
        refused(partial(load, root, name), Path(path).name)
        assert not list(root.rglob(".gan-cli-*"))


@pytest.mark.parametrize("name", [name for name in NEEDED if name != "lsun"])
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


def hostile(kind: str, outside: Path) -> dict[str, bytes | tarfile.TarInfo]:
    """Returns the members of a tar that would write to the folder `outside`, which is beside the root."""
    link = special_member("link", tarfile.SYMTYPE, str(outside))
    return {
        "a parent": {"../../outside/evil": b"", "../outside/evil": b""},
        "an absolute path": {f"{outside}/evil": b""},
        "a link to a folder": {"link": link, "link/evil": b""},
        "a link to a file": {"evil": special_member("evil", tarfile.SYMTYPE, str(outside / "evil"))},
        "a hard link": {"evil": special_member("evil", tarfile.LNKTYPE, f"{outside}/kept")},
        "a device": {"device": special_member("device", tarfile.CHRTYPE)},
    }[kind]


@pytest.mark.parametrize(
    "kind", ["a parent", "an absolute path", "a link to a folder", "a link to a file", "a hard link", "a device"]
)
def test_a_hostile_tar_writes_nothing_outside(
    published: PublishedFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Even if it has the expected checksum."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"kept")
    root = published.copy("dtd", tmp_path / "root")
    archive = root / NEEDED["dtd"][0]
    write_tar(archive, {**hostile(kind, outside), **read_tar(archive)})
    use_small_copies(monkeypatch, {archive.name: hashlib.md5(archive.read_bytes()).hexdigest()})
    if kind == "an absolute path":  # becomes a path within the folder of the extracted files, and is not used
        load(root, "dtd")
    else:
        refused(partial(load, root, "dtd"), str(archive), "damaged archive", "get it again")
        assert [path.name for path in archive.parent.iterdir()] == [archive.name]
    assert [path.name for path in outside.iterdir()] == ["kept"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "root"]


def test_a_hostile_zip_is_refused(published: PublishedFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, member in enumerate(("../../evil", "/tmp/evil", "2750/../../../evil")):
        root = published.copy("eurosat", tmp_path / f"{number}/root")
        archive = root / NEEDED["eurosat"][0]
        with zipfile.ZipFile(archive, "a") as opened:
            opened.writestr(member, b"")
        use_small_copies(monkeypatch, {archive.name: hashlib.md5(archive.read_bytes()).hexdigest()})
        refused(partial(load, root, "eurosat"), str(archive), "outside")
        assert [path.name for path in (tmp_path / f"{number}").iterdir()] == ["root"]


PICKLES = {
    "mnist": "MNIST/processed/training.pt",
    "fashion_mnist": "FashionMNIST/processed/training.pt",
    "kmnist": "KMNIST/processed/training.pt",
    "qmnist": "QMNIST/processed/train.pt",
    "cifar10": "cifar-10-batches-py/data_batch_1",
    "cifar100": "cifar-100-python.tar.gz",
}


@pytest.mark.parametrize("name", PICKLES)
def test_files_with_pickles_are_named_and_never_opened(tmp_path: Path, name: str) -> None:
    """What torchvision's own readers load or unpack."""
    path = tmp_path / PICKLES[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir()  # opening it would fail
    shown = PICKLES[name].removesuffix("/data_batch_1")
    refused(partial(load, tmp_path, name), f"{shown} is a pickle", "is not read")


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("svhn", "scipy", "svhn"), ("flowers102", "scipy", "svhn"), ("lsun", "lmdb", "lsun")]
)
def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    refused(partial(load, tmp_path, name), f"dataset={name} needs {package}: pip install 'gan-cli[{extra}]'")


@pytest.mark.parametrize(
    ("line", "words"), [("../../secret 1 1 1\n", "lists a file outside of"), ("", "its lists name no image")]
)
def test_a_list_of_files_is_not_trusted(published: PublishedFiles, tmp_path: Path, line: str, words: str) -> None:
    published.copy("oxford_pets", tmp_path, extracted=True)
    (tmp_path / "oxford-iiit-pet" / "annotations" / "trainval.txt").write_text(line)
    refused(partial(load, tmp_path, "oxford_pets"), words)
