"""The files of published data sets are downloaded, verified and extracted; a download that fails leaves nothing."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets import stl10
from gan_cli.data.datasets.torchvision_sets import TABLE
from gan_cli.data.load_dataset import build_dataset
from support.configs import dataset_section
from support.errors import refused
from support.published import WRITERS, PublishedFiles
from support.published.checksums import use_small_copies

NOT_OFFERED = ("lfw", "lsun")  # no server offers the files of LFW any longer, and LSUN's have no checksums
DOWNLOADED = [name for name in WRITERS if name not in (*NOT_OFFERED, "celeba")]
LARGEST = {  # bytes of the files above 1 GiB
    "stl10_binary.tar.gz": 2_640_397_119,
    "extra_32x32.mat": 1_329_278_602,
    "food-101.tar.gz": 4_996_278_331,
    "fgvc-aircraft-2013b.tar.gz": 2_753_340_328,
    "imagenette2.tgz": 1_557_161_267,
}
OPTIONS = {"mnist": {"fallback": "error"}}


def load(root: Path, name: str, *, download: bool = True) -> Dataset:
    section = dataset_section(name, root=str(root), download=download, **OPTIONS.get(name, {}))
    return build_dataset(section, (16, 16))


@pytest.fixture
def served(server: tuple[str, Path], published: PublishedFiles, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that serves the files of a data set, which must be loaded from there alone. Returns their folder."""

    def serve(name: str) -> Path:
        address, folder = server
        for path in published.root(name).rglob("*"):
            if path.is_file():
                shutil.copy(path, folder)
        use_small_copies(monkeypatch, published.md5(name), address)
        return folder

    return serve


@pytest.mark.parametrize("name", DOWNLOADED)
def test_missing_files_are_downloaded_once(
    served: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    folder, root = served(name), tmp_path / "root"
    dataset = load(root, name)
    assert "downloading to" in capsys.readouterr().out
    shutil.rmtree(folder)
    assert load(root, name).fingerprint == load(root, name, download=False).fingerprint == dataset.fingerprint
    assert "downloading" not in capsys.readouterr().out
    assert not list(root.rglob(".gan-cli-*"))


@pytest.mark.parametrize("name", DOWNLOADED)
def test_a_changed_file_is_refused_and_not_kept(served: Any, tmp_path: Path, name: str) -> None:
    for path in served(name).iterdir():
        path.write_bytes(path.read_bytes() + b"\n")
    root = tmp_path / "root"
    refused(partial(load, root, name), f"dataset.root={root}", "cannot be downloaded", "md5", "put ")
    assert not root.exists()


@pytest.mark.parametrize("name", DOWNLOADED)
def test_files_that_the_server_lacks_are_named(served: Any, tmp_path: Path, name: str) -> None:
    for path in served(name).iterdir():
        path.unlink()
    root = tmp_path / "root"
    refused(partial(load, root, name), f"dataset.root={root}", "cannot be downloaded", "File not found", "put ")
    assert not root.exists()


def test_the_limits_let_the_largest_published_files_pass() -> None:
    from torchvision import datasets  # takes long to import

    files = [stl10.STL10]
    for name, settings in {
        "svhn": {"split": "extra"},
        "food101": {},
        "fgvc_aircraft": {},
        "imagenette": {"resolution": "full"},
    }.items():
        files += TABLE[name].files(getattr(datasets, TABLE[name].reader), settings)
    assert [file.name for file in files if file.most_bytes < LARGEST[file.name]] == []
    assert {file.name for file in files} == set(LARGEST)
