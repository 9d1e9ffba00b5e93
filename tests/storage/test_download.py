"""A download is shown, limited and verified; one that fails leaves nothing behind."""

from __future__ import annotations

import hashlib
import http.server
import os
import sys
from pathlib import Path

import pytest

from gan_cli.storage.download import DownloadError, download


def md5_of(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def test_a_download_with_the_wrong_md5_leaves_nothing(server: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = server
    (folder / "file").write_bytes(b"not what was promised")
    with pytest.raises(DownloadError, match="md5"):
        download([address], "file", "0" * 32, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_file_that_the_server_lacks_leaves_nothing(server: tuple[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="File not found"):
        download([server[0]], "absent", "0" * 32, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_download_that_stops_half_way_leaves_nothing(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(1 << 20)
    (server[1] / "file").write_bytes(content)

    def copy_half(self: object, source: object, target: object) -> None:
        target.write(source.read(len(content) // 2))  # type: ignore[attr-defined]

    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "copyfile", copy_half)
    with pytest.raises(DownloadError, match="md5"):
        download([server[0]], "file", md5_of(content), tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_download_larger_than_allowed_leaves_nothing(server: tuple[str, Path], tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    (server[1] / "file").write_bytes(content)
    with pytest.raises(DownloadError, match="larger than 1 MiB"):
        download([server[0]], "file", md5_of(content), tmp_path / "root", most_bytes=1 << 20)
    assert not (tmp_path / "root").exists()
    assert download([server[0]], "file", md5_of(content), tmp_path / "root", most_bytes=3 << 20).read_bytes() == content


def test_a_terminal_gets_a_bar(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = b"content" * 100_000
    (server[1] / "file").write_bytes(content)
    monkeypatch.setenv("TERM", "xterm")
    for terminal in (False, True):
        monkeypatch.setattr(sys.stdout, "isatty", lambda terminal=terminal: terminal)
        download([server[0]], "file", md5_of(content), tmp_path / str(terminal))
        shown = capsys.readouterr().out
        assert ("700.0/700.0 kB" in shown) == terminal
