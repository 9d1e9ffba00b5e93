"""The record of a run that is read to be written again."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gan_cli.errors import StorageError
from gan_cli.storage import run_folder
from gan_cli.storage.run_folder import read_record, write_record


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_a_record_that_cannot_be_read_is_not_taken_for_a_missing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    write_record(tmp_path, {"command": "gan-train"})

    def fail(*arguments: object) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(run_folder, "read_bytes", fail)
    with pytest.raises(StorageError, match=r"config\.json: cannot be read"):
        read_record(tmp_path)


def test_a_missing_damaged_or_foreign_record_is_empty(tmp_path: Path) -> None:
    record = tmp_path / "config.json"
    assert read_record(tmp_path) == {}
    for content in ("{", "[]", "[" * 100_000):
        record.write_text(content)
        assert read_record(tmp_path) == {}
    record.unlink()
    record.symlink_to("/etc/hostname")
    assert read_record(tmp_path) == {}
    record.unlink()
    os.mkfifo(record)
    assert read_record(tmp_path) == {}
