"""Every data set with a name is loaded from a small copy of its published files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gan_cli.config.compose import groups
from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets.torchvision_sets import TABLE
from gan_cli.data.load_dataset import build_dataset
from support.configs import dataset_section
from support.published import WRITERS, PublishedFiles
from support.published.checksums import use_small_copies
from support.published.pictures import Split

COMPUTED = {"folder", "grid", "ring", "shapes", "stacked_mnist", "swiss_roll"}  # data sets without published files


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
