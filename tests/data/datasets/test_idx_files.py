"""The idx reader: what is damaged is refused by name."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from gan_cli.data.datasets.idx_files import read_idx
from gan_cli.errors import StorageError, UsageError
from support.published.digits import idx_bytes

GOOD = idx_bytes(np.zeros((2, 28, 28), np.uint8))


DAMAGED = {
    "empty": b"",
    "two bytes": b"\0\0",
    "wrong magic": b"\x89PNG" + GOOD[4:],
    "floats": struct.pack(">I", 0x0D03) + GOOD[4:],
    "no dimensions": struct.pack(">I", 0x0800),
    "header cut": GOOD[:10],
    "data cut": GOOD[:-1],
    "data too long": GOOD + b"\0",
    "a page of HTML": b"<!DOCTYPE html><html>not found</html>",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
@pytest.mark.parametrize("compress", [False, True])
def test_damaged_idx_files_are_refused_by_name(tmp_path: Path, content: bytes, compress: bool) -> None:
    path = tmp_path / ("broken.gz" if compress else "broken")
    path.write_bytes(gzip.compress(content) if compress else content)
    with pytest.raises(UsageError, match="broken"):
        read_idx(path)


@pytest.mark.parametrize(
    "content",
    [gzip.compress(GOOD)[:-9], b"not gzip at all", gzip.compress(GOOD)[:30]],
    ids=["checksum cut", "not gzip", "data cut"],
)
def test_damaged_gzip_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.gz"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"broken\.gz: damaged gzip"):
        read_idx(path)


def test_a_flipped_bit_in_gzip_is_refused(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(idx_bytes(np.arange(784, dtype=np.uint8).reshape(1, 28, 28))))
    content[len(content) // 2] ^= 1
    path = tmp_path / "broken.gz"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="broken"):
        read_idx(path)


def test_an_unreadable_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nowhere"):
        read_idx(tmp_path / "nowhere")
