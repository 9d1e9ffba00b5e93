"""Data that are not where a config says: found from where the run was started, or where the user says."""

from __future__ import annotations

from pathlib import Path

import pytest

from gan_cli.data.moved_data import relocate_data, resolve_data_paths
from gan_cli.errors import UsageError
from support.configs import compose


def test_a_relative_path_is_taken_from_where_the_run_was_started(here: Path) -> None:
    there = here / "there"
    (there / "files").mkdir(parents=True)
    section = compose("dataset=fashion_mnist", "dataset.root=files").dataset
    assert resolve_data_paths(section, there).root == str(there / "files")
    (here / "files").mkdir()
    assert resolve_data_paths(section, there).root == "files"  # it is here, too


@pytest.mark.parametrize("root", ["/absolute", "~/home", "nowhere"])
def test_other_paths_are_left_alone(here: Path, root: str) -> None:
    section = compose("dataset=fashion_mnist").dataset
    section = type(section)(**{**vars(section), "root": root})
    assert resolve_data_paths(section, here / "there") == section


def test_what_was_moved_is_named() -> None:
    assert relocate_data(compose("dataset=fashion_mnist").dataset, "x").root == "x"
    assert relocate_data(compose("dataset=folder", "dataset.path=a").dataset, "x").path == "x"
    with pytest.raises(UsageError, match="data=x: dataset=ring is synthetic, leave it out"):
        relocate_data(compose("experiment=ring").dataset, "x")
