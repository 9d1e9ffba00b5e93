"""Zips of images."""

from __future__ import annotations

import contextlib
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gan_cli.data.selection import Selection
from gan_cli.errors import UsageError
from gan_cli.image_files import formats
from support.image_folders import folder_error, load_folder
from support.images import (
    encode_image,
    noise_image,
    write_class_folders,
    write_image,
    zip_folder,
)


@pytest.mark.parametrize("prefix", ["", "pets/", "./", "./pets/", "/", "../"])
def test_a_zip_is_as_the_folder(tmp_path: Path, prefix: str) -> None:
    root = write_class_folders(tmp_path / "root", cat=3, dog=2)
    packed = load_folder(zip_folder(root, tmp_path / "pets.zip", prefix))
    assert packed.classes == ("cat", "dog")
    assert packed.fingerprint == load_folder(root).fingerprint


def test_a_zip_with_splits_in_a_wrapping_folder(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "root" / "train", cat=2, dog=1)
    write_class_folders(tmp_path / "root" / "val", cat=1, dog=0)
    path = zip_folder(tmp_path / "root", tmp_path / "pets.ZIP", "pets/")
    dataset = load_folder(path)
    assert len(dataset) == 3
    assert dataset.source.endswith(f"from {path}/pets/train")
    assert len(load_folder(path, split="test")) == 1


def test_a_zip_whose_only_folder_holds_pictures_is_flat(tmp_path: Path) -> None:
    write_image(tmp_path / "root" / "pets" / "a.png")
    dataset = load_folder(zip_folder(tmp_path / "root", tmp_path / "pets.zip"))
    assert dataset.labels is None
    assert dataset.source == f"1 image from {tmp_path}/pets.zip/pets"


def test_backslashes_of_a_windows_zip(tmp_path: Path) -> None:
    content = write_image(tmp_path / "a.png").read_bytes()
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for name in ("cat\\1.png", "dog\\1.png", "__MACOSX\\._1.png", "Thumbs.db"):
            archive.writestr(name, content)
    assert load_folder(tmp_path / "pets.zip").classes == ("cat", "dog")


def damage(path: Path, old: bytes, new: bytes, times: int = 1) -> None:
    content = path.read_bytes()
    assert content.count(old) >= 1
    path.write_bytes(content.replace(old, new, times))


def test_bad_members_of_a_zip(tmp_path: Path) -> None:
    content = encode_image(noise_image(8, 8), "BMP")
    path = tmp_path / "pets.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.bmp", content)
        archive.writestr("crc.bmp", content.replace(content[60:64], b"\1\2\3\4"))
        archive.writestr("packed.bmp", content, compress_type=zipfile.ZIP_BZIP2)
        archive.writestr("secret.bmp", content)
        archive.writestr("text.bmp", b"?")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("good.bmp", content)
        archive.getinfo("secret.bmp").flag_bits |= 1
    damage(path, b"\1\2\3\4", b"\4\3\2\1")
    dataset = load_folder(path, on_bad="skip")
    assert len(dataset) == 1
    reasons = {
        "crc.bmp": "damaged in the zip",
        "good.bmp": "twice in the zip",
        "packed.bmp": "packed in an unusual way, zip it again",
        "secret.bmp": "encrypted",
        "text.bmp": "not an image despite its name",
    }
    assert dataset.source.endswith("5 left out: " + ", ".join(f"{name} ({why})" for name, why in reasons.items()))


def test_a_member_that_is_too_large_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MOST_FILE_BYTES", 2**20)
    write_image(tmp_path / "root" / "good" / "a.png")
    (tmp_path / "root" / "large").mkdir()
    (tmp_path / "root" / "large" / "a.png").write_bytes(bytes(2**20 + 1))
    path = zip_folder(tmp_path / "root", tmp_path / "pets.zip")
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_, **__: pytest.fail("has unpacked it"))
    large = Selection(classes=("large",))
    for root in (path, tmp_path / "root"):
        assert "large/a.png (larger than 1 MiB)" in folder_error(root, selection=large)


def test_damaged_zips_are_refused_and_never_a_traceback(tmp_path: Path) -> None:
    path = zip_folder(write_class_folders(tmp_path / "root", cat=2, dog=2), tmp_path / "pets.zip")
    content = path.read_bytes()
    random = np.random.default_rng(0)
    for cut in range(0, len(content), 23):
        path.write_bytes(content[:cut])
        assert "is a damaged zip" in folder_error(path)
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(3):
            damaged[random.integers(0, len(content))] = random.integers(0, 256)
        path.write_bytes(damaged)
        with contextlib.suppress(UsageError):
            assert load_folder(path, on_bad="skip").source.isprintable()


def test_an_empty_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pets.zip", "w"):
        pass
    assert "no images in it" in folder_error(tmp_path / "pets.zip")


def test_nothing_is_written_beside_a_zip(tmp_path: Path) -> None:
    path = zip_folder(write_class_folders(tmp_path / "root", cat=1), tmp_path / "pets.zip")
    shutil.rmtree(tmp_path / "root")
    load_folder(path)
    assert [item.name for item in tmp_path.iterdir()] == ["pets.zip"]
