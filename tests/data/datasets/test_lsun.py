"""LSUN: scenes are chosen by their classes, and databases may be missing or damaged."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from gan_cli.data.dataset import Dataset
from gan_cli.data.load_dataset import build_dataset
from support.configs import dataset_section
from support.errors import refused
from support.published import PublishedFiles


@pytest.fixture
def root(published: PublishedFiles, tmp_path: Path) -> Path:
    """A root folder with the databases of two scenes."""
    pytest.importorskip("lmdb")
    return published.copy("lsun", tmp_path / "root", extracted=True)


def load(root: Path, *classes: str, **options: object) -> Dataset:
    return build_dataset(dataset_section("lsun", root=str(root), classes=list(classes) or None, **options), (16, 16))


def test_classes_choose_the_databases(root: Path) -> None:
    one, both = load(root, "church_outdoor"), load(root, "church_outdoor", "bedroom")
    assert (len(one), one.classes) == (4, ("church_outdoor",))
    assert (len(both), both.classes) == (8, ("church_outdoor", "bedroom"))
    assert both.labels is not None
    assert both.labels.tolist() == [0] * 4 + [1] * 4
    assert len(load(root, "bedroom", limit=3)) == 3


def test_other_scenes_are_named(root: Path) -> None:
    refused(partial(load, root, "bedrom"), "'bedrom' is no class of these data", "did you mean 'bedroom'")
    refused(
        partial(load, root, "tower"),
        f"dataset.root={root}",
        f"put tower_train_lmdb (the folder in tower_train_lmdb.zip) into {root}",
    )


def test_a_damaged_database_is_named(root: Path) -> None:
    path = root / "bedroom_train_lmdb"
    (path / "data.mdb").write_bytes(b"<html>Not found</html>")
    refused(partial(load, root, "bedroom"), str(path), "is no lmdb database", "get it again")
