"""A server of numbered shards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gan_cli.data.shards import download_shards
from support.shard_server import COUNTS, Server
from support.shards import write_numbered


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download_shards, "PAUSES", (0, 0))
    server = Server(write_numbered(tmp_path / "served", *COUNTS))
    yield server
    server.close()
