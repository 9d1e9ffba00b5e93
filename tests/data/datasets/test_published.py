"""Every data set with a name is loaded from a small copy of its published files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import torch

from gan_cli.config.compose import groups
from gan_cli.data.dataset import Dataset
from gan_cli.data.load_dataset import build_dataset
from support.configs import dataset_section
from support.published import WRITERS, PublishedFiles
from support.published.pictures import Split

COMPUTED = {"folder", "grid", "ring", "shapes", "stacked_mnist", "swiss_roll"}  # data sets without published files


class Case(NamedTuple):
    """A split of a data set, other options, and the written split that must be loaded if it has another name."""

    name: str
    split: str
    options: Mapping[str, Any] = MappingProxyType({})
    written: str = ""


CASES = [
    *(Case(name, split) for name in WRITERS for split in ("train", "test") if name not in ("lsun", "eurosat")),
    Case("svhn", "extra"),
    Case("stl10", "unlabeled"),
    Case("celeba", "valid"),
    Case("celeba", "all"),
]
CASES = [case for case in CASES if case.name in groups()["dataset"]]


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
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join((case.name, case.written or case.split)))
def test_each_split_is_loaded(published: PublishedFiles, case: Case, layout: str) -> None:
    expected = published.splits(case.name)[case.written or case.split]
    root = published.root(case.name) if layout == "downloaded" else published.extracted(case.name)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    dataset = load(root, case.name, expected.images.shape[2:], split=case.split, **case.options)
    assert_loaded(dataset, expected)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before  # nothing is written
