"""STL-10: reading in chunks, and damage in its files."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch

from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets import downloaded_archives, stl10
from gan_cli.data.datasets.stl10 import load_stl10
from gan_cli.data.decoding.resize import crop_and_resize_batch
from gan_cli.errors import UsageError
from support.errors import refused
from support.published.arrays import write_stl10
from support.published.pictures import extract_archives, read_tar, write_tar


def load(root: Path, split: str = "train", size: tuple[int, int] = (96, 96)) -> Dataset:
    return load_stl10(root=str(root), download=False, split=split, image_size=size)


def test_images_are_resized_chunk_by_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.from_numpy(write_stl10(tmp_path)["unlabeled"].images)
    seen = []

    def counted(chunk: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        seen.append(len(chunk))
        return crop_and_resize_batch(chunk, size)

    monkeypatch.setattr(stl10, "CHUNK", 3)
    monkeypatch.setattr(downloaded_archives, "crop_and_resize_batch", counted)
    assert torch.equal(load(tmp_path, "unlabeled", (64, 48)).samples, crop_and_resize_batch(images, (64, 48)))
    assert seen == [3, 1]


def test_a_long_wait_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_stl10(tmp_path)
    monkeypatch.setattr(downloaded_archives, "SLOW_BYTES", 1000)
    load(tmp_path)
    assert "STL-10: reading" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("train_y.bin", b"\1\2\0", "has labels from 0 to 2, expected 1 to 10"),
        ("train_y.bin", b"\1\2\13", "has labels from 1 to 11"),
        ("train_y.bin", b"\1\2", "3 images do not fit 2 labels"),
        ("train_y.bin", b"", "0 bytes"),
        ("train_X.bin", b"\0" * 27_647, "27,647 bytes, expected 1 to 100,000 times 27,648"),
    ],
    ids=["label 0", "label 11", "a label missing", "no labels", "a byte missing"],
)
def test_damage_within_a_file(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    write_stl10(tmp_path)
    members = read_tar(tmp_path / stl10.STL10.name)
    write_tar(tmp_path / stl10.STL10.name, {**members, f"stl10_binary/{name}": content})
    refused(lambda: load(tmp_path), stl10.STL10.name, why)
    extract_archives(tmp_path)
    refused(lambda: load(tmp_path), str(tmp_path / "stl10_binary"), why)


def test_a_file_that_ends_before_its_size() -> None:
    member = downloaded_archives.ArchiveMember(io.BytesIO(b"1234"), 8, "some file")
    assert member.count(8, 1) == 1
    with pytest.raises(UsageError, match="some file: ends too early"):
        member.read(8)
