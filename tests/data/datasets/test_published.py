"""Every data set with a name is loaded from a small copy of its published files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gan_cli.config.compose import groups
from gan_cli.data.dataset import Dataset
from gan_cli.data.load_dataset import build_dataset
from support.configs import dataset_section
from support.published import WRITERS, PublishedFiles
from support.published.pictures import Split

COMPUTED = {"folder", "grid", "ring", "shapes", "stacked_mnist", "swiss_roll"}  # data sets without published files


# The option that a part of a data set is chosen by; it stands before the slash in the key of a written split.
PART_OPTIONS = {"emnist": "subset", "oxford_pets": "target", "fgvc_aircraft": "target", "dtd": "partition"}


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
def test_each_split_is_loaded(published: PublishedFiles, name: str, layout: str) -> None:
    root = published.root(name) if layout == "downloaded" else published.extracted(name)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    for key, expected in published.splits(name).items():
        part, _, split = key.rpartition("/")
        options = {PART_OPTIONS[name]: int(part) if part.isdigit() else part} if part else {}
        assert_loaded(load(root, name, expected.images.shape[2:], split=split, **options), expected)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before  # nothing is written
