"""MNIST and the data sets in its format: files, the bundled digits, downloads, splits."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gan_cli.data.datasets import mnist_family
from gan_cli.data.datasets.mnist_family import FASHION_MNIST, IMAGES, KMNIST, LABELS, MNIST, load_digits
from gan_cli.data.decoding.resize import crop_and_resize_batch
from gan_cli.data.load_dataset import build_dataset
from gan_cli.errors import UsageError
from support.configs import compose, dataset_section
from support.paths import ROOT
from support.published import PublishedFiles
from support.published.digits import idx_bytes, write_digits

SHARED = ROOT.parent / "shared" / "data"


def load(
    source: mnist_family.Source,
    root: Path,
    *,
    download: bool = False,
    fallback: str = "error",
    image_size: int = 28,
    split: str = "train",
):
    size = (image_size, image_size)
    return load_digits(source, root=str(root), download=download, fallback=fallback, image_size=size, split=split)


@pytest.mark.parametrize("compress", [False, True])
def test_idx_files_raw_or_gzipped(tmp_path: Path, compress: bool) -> None:
    images, labels = write_digits(tmp_path / "MNIST" / "raw", compress=compress)
    dataset = load(MNIST, tmp_path)
    assert torch.equal(dataset.samples, torch.from_numpy(images).unsqueeze(1))
    assert dataset.labels is not None
    assert dataset.labels.tolist() == labels.tolist()
    assert dataset.complete
    assert "30 images" in dataset.source


def test_the_siblings_have_folders_of_their_own(tmp_path: Path) -> None:
    for source in (FASHION_MNIST, KMNIST):
        write_digits(tmp_path / source.folder)
        assert source.title in load(source, tmp_path).source
    section = compose("dataset=kmnist", f"dataset.root={tmp_path}", "dataset.download=false").dataset
    assert build_dataset(section, 28).classes[0] == "o"


def test_idx_files_straight_in_the_root(tmp_path: Path) -> None:
    write_digits(tmp_path)
    assert len(load(FASHION_MNIST, tmp_path)) == 30


def test_the_zip_of_emnist_may_be_unpacked(published: PublishedFiles, tmp_path: Path) -> None:
    root = published.copy("emnist", tmp_path)
    with zipfile.ZipFile(root / "EMNIST/raw/gzip.zip") as archive:
        archive.extractall(root / "EMNIST/raw")
    (root / "EMNIST/raw/gzip.zip").unlink()
    dataset = build_dataset(dataset_section("emnist", root=str(root), download=False, subset="letters"), (28, 28))
    assert torch.equal(dataset.samples, torch.from_numpy(published.splits("emnist")["letters/train"].images))


def test_images_that_do_not_fit_their_labels_are_refused(tmp_path: Path) -> None:
    write_digits(tmp_path)
    (tmp_path / LABELS).write_bytes(idx_bytes(np.zeros(29, np.uint8)))
    with pytest.raises(UsageError, match="do not fit"):
        load(MNIST, tmp_path)


def test_mnist_falls_back_to_the_bundled_digits_and_says_so(tmp_path: Path) -> None:
    dataset = load(MNIST, tmp_path, fallback="bundled")
    assert dataset.samples.shape == (5000, 1, 28, 28)
    assert not dataset.complete
    assert "NOT the full MNIST" in dataset.source
    assert dataset.labels is not None
    assert dataset.labels.bincount().tolist() == [500] * 10


def test_the_fallback_can_be_forbidden_and_fashion_has_none(tmp_path: Path) -> None:
    for source in (MNIST, FASHION_MNIST):
        with pytest.raises(UsageError) as caught:
            load(source, tmp_path)
        for word in (source.title, f"{IMAGES}.gz", f"{LABELS}.gz", str(tmp_path / source.folder)):
            assert word in str(caught.value)


def test_resizing(tmp_path: Path) -> None:
    assert load(MNIST, tmp_path, fallback="bundled", image_size=32).samples.shape == (5000, 1, 32, 32)
    flat = torch.full((2, 3, 28, 28), 77, dtype=torch.uint8)
    assert (crop_and_resize_batch(flat, (16, 16)) == 77).all()


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared data beside the checkout")
def test_the_real_fashion_mnist() -> None:
    dataset = load(FASHION_MNIST, SHARED)
    assert dataset.samples.shape == (60_000, 1, 28, 28)
    assert dataset.labels is not None
    assert dataset.labels.bincount().tolist() == [6000] * 10


def mirrored(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> mnist_family.Source:
    address, folder = server
    write_digits(folder, compress=True)
    md5 = {name: hashlib.md5((folder / f"{name}.gz").read_bytes()).hexdigest() for name in (IMAGES, LABELS)}
    return replace(MNIST, mirrors=("http://127.0.0.1:9/", address), md5=md5)


def test_a_download_takes_the_first_mirror_that_works_and_is_kept(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = mirrored(server, monkeypatch)
    dataset = load(source, tmp_path / "root", download=True)
    assert len(dataset) == 30
    assert "downloaded" in dataset.source
    again = load(source, tmp_path / "root", download=False)
    assert again.fingerprint == dataset.fingerprint
    assert sorted(path.name for path in (tmp_path / "root/MNIST/raw").iterdir()) == [f"{IMAGES}.gz", f"{LABELS}.gz"]


def test_without_a_network_every_mirror_is_named(tmp_path: Path) -> None:
    source = replace(MNIST, mirrors=("http://127.0.0.1:9/one/", "http://127.0.0.1:9/two/"))
    with pytest.raises(UsageError, match=r"cannot be downloaded.*one.*two"):
        load(source, tmp_path, download=True)
    assert list(tmp_path.iterdir()) == []


def test_the_test_split_of_digits_is_its_own_file(tmp_path: Path) -> None:
    folder = tmp_path / "MNIST" / "raw"
    write_digits(folder)
    with pytest.raises(UsageError, match="t10k-images-idx3-ubyte"):
        load(MNIST, tmp_path, split="test", fallback="bundled")  # the stand-in has no test split
    images = np.full((4, 28, 28), 9, np.uint8)
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(images))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(4, dtype=np.uint8)))
    assert (load(MNIST, tmp_path, split="test").samples == 9).all()
    assert len(load(MNIST, tmp_path)) == 30


def test_a_label_out_of_range_is_refused(tmp_path: Path) -> None:
    write_digits(tmp_path)
    (tmp_path / LABELS).write_bytes(idx_bytes(np.full(30, 10, np.uint8)))
    with pytest.raises(UsageError, match="has label 10, of 10 classes"):
        load(MNIST, tmp_path)
