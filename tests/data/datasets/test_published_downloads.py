"""The files of published data sets are downloaded, verified and extracted; a download that fails leaves nothing."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gan_cli.data.dataset import Dataset
from gan_cli.data.load_dataset import build_dataset
from support.configs import dataset_section
from support.errors import refused
from support.published import WRITERS, PublishedFiles
from support.published.checksums import use_small_copies

NOT_OFFERED = ("lfw", "lsun")  # no server offers the files of LFW any longer, and LSUN's have no checksums
DOWNLOADED = [name for name in WRITERS if name not in (*NOT_OFFERED, "celeba")]
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
    assert not list(root.rglob(".part-*"))


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
