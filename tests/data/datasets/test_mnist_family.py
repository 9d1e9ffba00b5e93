"""MNIST and the data sets in its format: files, the bundled digits, downloads, splits."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gan_cli.data.datasets import mnist_family
from gan_cli.data.datasets.mnist_family import LABELS, MNIST, SOURCES, load_digits
from gan_cli.data.decoding.resize import crop_and_resize_batch
from gan_cli.data.load_dataset import build_dataset
from gan_cli.errors import UsageError
from support.configs import dataset_section
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


def test_idx_files_straight_in_the_root(tmp_path: Path) -> None:
    write_digits(tmp_path)
    assert len(load(SOURCES["fashion_mnist"], tmp_path)) == 30


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


def test_resizing(tmp_path: Path) -> None:
    assert load(MNIST, tmp_path, fallback="bundled", image_size=32).samples.shape == (5000, 1, 32, 32)
    flat = torch.full((2, 3, 28, 28), 77, dtype=torch.uint8)
    assert (crop_and_resize_batch(flat, (16, 16)) == 77).all()


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared data beside the checkout")
def test_the_real_fashion_mnist() -> None:
    dataset = load(SOURCES["fashion_mnist"], SHARED)
    assert dataset.samples.shape == (60_000, 1, 28, 28)
    assert dataset.labels is not None
    assert dataset.labels.bincount().tolist() == [6000] * 10


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
