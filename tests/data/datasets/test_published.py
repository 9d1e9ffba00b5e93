"""Every data set with a name is loaded from a small copy of its published files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_cli.config.compose import groups
from gan_cli.data import folder, image_store
from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets.published_images import PublishedImages
from gan_cli.data.datasets.torchvision_sets import TABLE
from gan_cli.data.load_dataset import build_dataset
from support.configs import dataset_section
from support.errors import refused
from support.published import WRITERS, PublishedFiles
from support.published.checksums import use_small_copies
from support.published.pictures import Split

# Data sets without published files.
COMPUTED = {"avatars", "emoji", "emoji_pairs", "folder", "grid", "huggingface", "ring", "shapes", "stacked_mnist"} | {
    "swiss_roll", "webdataset",
}  # fmt: skip


# The option that a part of a data set is chosen by; it stands before the slash in the key of a written split.
PART_OPTIONS = {"emnist": "subset", "oxford_pets": "target", "fgvc_aircraft": "target", "dtd": "partition"}


# The archives of these data sets are extracted beside themselves.
EXTRACTED = set(TABLE) - {"svhn", "usps"}


def load(root: Path, name: str, size: tuple[int, int] = (32, 32), **options: Any) -> Dataset:
    """Loads a data set from `root` without downloads, at `size`: (height, width)."""
    return build_dataset(dataset_section(name, root=str(root), download=False, **options), size)


def assert_loaded(dataset: Dataset, expected: Split) -> None:
    """Compares the count, the pixels (JPEG changes them a little) and the names of the classes."""
    assert dataset.samples.dtype == torch.uint8
    assert dataset.samples.shape == expected.images.shape
    difference = dataset.samples.int() - torch.from_numpy(expected.images).int()
    assert difference.abs().float().mean() < 1.5
    if expected.names is None:
        assert dataset.labels is None
    else:
        assert dataset.labels is not None
        assert [dataset.classes[label] for label in dataset.labels.tolist()] == expected.names


def test_each_data_set_has_a_small_copy() -> None:
    assert set(WRITERS) == set(groups()["dataset"]) - COMPUTED


@pytest.mark.parametrize("layout", ["downloaded", "extracted"])
@pytest.mark.parametrize("name", WRITERS)
def test_each_split_is_loaded(
    published: PublishedFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, layout: str
) -> None:
    if (name, layout) == ("lsun", "downloaded"):
        pytest.skip("its zips have no published checksums, and must be extracted by hand")
    use_small_copies(monkeypatch, published.md5(name))
    root = published.copy(name, tmp_path, extracted=layout == "extracted")
    files = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    for key, expected in published.splits(name).items():
        part, _, split = key.rpartition("/")
        options = {PART_OPTIONS[name]: int(part) if part.isdigit() else part} if part else {}
        dataset = load(root, name, expected.images.shape[2:], split=split, **options)
        assert_loaded(dataset, expected)
        assert f"{len(expected.images)} " in dataset.source
        assert str(root) in dataset.source
    after = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    assert files.items() <= after.items()  # no published file is changed
    assert name in EXTRACTED or after == files  # and others are written only by extracting


def test_stacked_digits_are_those_of_the_files(published: PublishedFiles) -> None:
    root = str(published.root("mnist"))
    dataset = build_dataset(dataset_section("stacked_mnist", root=root, download=False, size=40), (28, 28))
    assert dataset.complete
    assert dataset.samples.shape == (40, 3, 28, 28)
    known = {image.tobytes() for image in published.splits("mnist")["train"].images}
    assert {channel.numpy().tobytes() for channel in dataset.samples.flatten(0, 1)} <= known


def test_decoded_images_are_kept_for_the_next_run(
    published: PublishedFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_small_copies(monkeypatch, published.md5("oxford_pets"))
    monkeypatch.setattr(image_store, "MIN_CACHE_BYTES", 1)
    root, cache = published.copy("oxford_pets", tmp_path / "root"), str(tmp_path / "cache")
    first = load(root, "oxford_pets", cache=cache)
    monkeypatch.setattr(folder, "decode_all", None)  # nothing is decoded again
    again = load(root, "oxford_pets", cache=cache)
    assert again.fingerprint == first.fingerprint
    assert again.classes == first.classes
    monkeypatch.undo()
    use_small_copies(monkeypatch, published.md5("oxford_pets"))
    assert load(root, "oxford_pets", cache=cache, target="species").classes == ("cat", "dog")


@pytest.mark.parametrize("name", ["oxford_pets", "food101"])
def test_a_damaged_image_is_named(
    published: PublishedFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    use_small_copies(monkeypatch, published.md5(name))
    root = published.copy(name, tmp_path, extracted=True)
    path = min(root.rglob("*.jpg"))
    path.write_bytes(path.read_bytes()[:100])
    refused(partial(load, root, name), "cannot be used", path.name, "get it again")
    path.unlink()
    refused(partial(load, root, name), "cannot be used", path.name)


def test_few_damaged_images_are_left_out(
    published: PublishedFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PublishedImages, "most_unusable", 0.05)
    use_small_copies(monkeypatch, published.md5("oxford_pets"))
    root = published.copy("oxford_pets", tmp_path, extracted=True)
    (root / "oxford-iiit-pet/images/beagle_100.jpg").write_bytes(b"")
    dataset = load(root, "oxford_pets")
    assert len(dataset) == 36
    assert "left out" in dataset.source
    assert "beagle" in dataset.classes
    assert dataset.labels is not None
    assert dataset.classes.index("beagle") not in dataset.labels.tolist()
