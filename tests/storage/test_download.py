"""A download that fails leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from gan_cli.storage.download import DownloadError, download


def test_a_download_with_the_wrong_md5_leaves_nothing(server: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = server
    (folder / "file").write_bytes(b"not what was promised")
    with pytest.raises(DownloadError, match="md5"):
        download([address], "file", "0" * 32, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_download_that_stops_half_way_leaves_nothing(server: tuple[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="File not found"):
        download([server[0]], "absent", "0" * 32, tmp_path / "root")
    assert not (tmp_path / "root").exists()
