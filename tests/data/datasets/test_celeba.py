"""CelebA: cropping, the partition, damaged faces, and the download from Google Drive."""

from __future__ import annotations

import hashlib
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets.celeba import ARCHIVE, IMAGE_FOLDER, PARTITION, build_celeba
from gan_cli.data.datasets.published_images import PublishedImages
from gan_cli.data.decoding.resize import crop_and_resize_batch, crop_box
from gan_cli.data.selection import Selection
from support.errors import refused
from support.images import encode_image
from support.published import PublishedFiles
from support.published.pictures import extract_archives, write_zip


@pytest.fixture
def root(published: PublishedFiles, tmp_path: Path) -> Path:
    """A root folder with a small CelebA."""
    return published.copy("celeba", tmp_path / "root")


def load(
    root: Path, split: str = "train", size: tuple[int, int] = (218, 178), *, download: bool = False, **kept: object
) -> Dataset:
    selection = Selection(**kept)  # type: ignore[arg-type]
    return build_celeba(root=str(root), download=download, split=split, image_size=size, selection=selection)


def decoded(root: Path, *names: str) -> torch.Tensor:
    """Returns the pixels of the files of these faces, as Pillow decodes them."""
    with zipfile.ZipFile(root / "celeba" / ARCHIVE) as archive:
        faces = [Image.open(archive.open(f"{IMAGE_FOLDER}/{name}")) for name in names]
        return torch.from_numpy(np.stack([np.array(face).transpose(2, 0, 1) for face in faces]))


def test_faces_are_cut_in_their_middle(root: Path) -> None:
    whole = decoded(root, "000001.jpg", "000002.jpg", "000005.jpg")
    assert torch.equal(load(root).samples, whole)
    assert crop_box(218, 178, (178, 178)) == (20, 0, 178, 178)
    assert torch.equal(load(root, size=(178, 178)).samples, whole[:, :, 20:198])
    assert load(root, size=(48, 24)).samples.shape == (3, 3, 48, 24)
    small = load(root, size=(64, 64)).samples.float()
    assert (small - crop_and_resize_batch(whole, (64, 64)).float()).abs().mean() < 6


def test_only_the_whole_needs_no_partition(root: Path) -> None:
    (root / "celeba" / PARTITION).unlink()
    assert len(load(root, "all")) == 7
    refused(lambda: load(root), f"put {PARTITION} into {root / 'celeba'}", "dataset.download=false")


def test_only_what_is_kept_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    read_image = PublishedImages.read_image
    monkeypatch.setattr(PublishedImages, "read_image", lambda self, file: read.append(file) or read_image(self, file))
    selection = Selection(limit=4)
    dataset = load(root, "all", limit=4)
    assert len(read) == 4
    kept = selection.indices(None, (), 7)
    assert torch.equal(dataset.samples, decoded(root, *[f"{number + 1:06}.jpg" for number in kept.tolist()]))
    assert dataset.source.endswith("; 4 of 7 kept")
    assert selection.apply(dataset) is dataset
    refused(lambda: load(root, classes=("smiling",)), "dataset.classes=[smiling]")


def change_face(root: Path, name: str, change: Callable[[bytes], bytes | None]) -> None:
    """Replaces a face in the zip, or removes it."""
    with zipfile.ZipFile(root / "celeba" / ARCHIVE) as archive:
        members = {each: archive.read(each) for each in archive.namelist() if not each.endswith("/")}
    changed = change(members.pop(f"{IMAGE_FOLDER}/{name}"))
    write_zip(root / "celeba" / ARCHIVE, members if changed is None else {**members, f"{IMAGE_FOLDER}/{name}": changed})


@pytest.mark.parametrize("extracted", [False, True])
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda face: None, ""),
        (lambda face: b"", "cannot be decoded"),
        (lambda face: b"no image", "cannot be decoded"),
        (lambda face: encode_image(Image.new("RGB", (178, 218)), "PNG"), "cannot be decoded"),
        (lambda face: encode_image(Image.new("RGB", (64, 64)), "JPEG"), "is 64x64, CelebA's are 178x218"),
        (lambda face: face[: len(face) // 2], "truncated"),
    ],
    ids=["missing", "empty", "no image", "a PNG", "another size", "truncated"],
)
def test_a_damaged_face_is_named(
    root: Path, extracted: bool, change: Callable[[bytes], bytes | None], why: str
) -> None:
    change_face(root, "000002.jpg", change)
    if extracted:
        extract_archives(root)
    refused(lambda: load(root), str(root / "celeba" / IMAGE_FOLDER), "000002.jpg", why)
    assert len(load(root, "test")) == 2


def test_a_flipped_byte_in_the_zip_is_named(root: Path) -> None:
    path = root / "celeba" / ARCHIVE
    content = bytearray(path.read_bytes())
    content[content.index(b"000002.jpg") + 1000] ^= 255
    path.write_bytes(content)
    refused(lambda: load(root), str(path), "000002.jpg", "damaged in the zip")


def test_what_is_no_zip_of_faces(root: Path) -> None:
    path = root / "celeba" / ARCHIVE
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-10], b"<html>Quota exceeded</html>", b""):
        path.write_bytes(content)
        refused(lambda: load(root), str(path), "damaged archive", "get it again")
    names = ("/etc/1.jpg", f"../{IMAGE_FOLDER}/1.jpg", f"{IMAGE_FOLDER}/../1.jpg", f"{IMAGE_FOLDER}/deep/1.jpg")
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    refused(lambda: load(root, "all"), str(path), "has no images in img_align_celeba/")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"000001.jpg 0\n000002.jpg\n", "line 2 is '000002.jpg'"),
        (b"000001.jpg 3\n", "line 1 is '000001.jpg 3'"),
        (b"../../../etc/passwd 0\n", "line 1"),
        (b"../1.jpg 0\n", "line 1"),
        (b"000001.jpg 1\n", "names no images of the split train"),
        (b"", "names no images"),
        ("ünmöglich 0\n".encode(), "is not a text"),
        (b"000009.jpg 0\n", "000009.jpg"),
    ],
    ids=[
        "a line without a split",
        "split 3",
        "a path",
        "a parent",
        "another split",
        "empty",
        "not ASCII",
        "no such image",
    ],
)
def test_a_damaged_partition(root: Path, text: bytes, why: str) -> None:
    (root / "celeba" / PARTITION).write_bytes(text)
    refused(lambda: load(root), str(root / "celeba"), why)


# --- Google Drive ------------------------------------------------------------------------------------------------


@pytest.fixture
def drive(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for Google Drive, and a gdown that copies from it."""
    from torchvision.datasets import CelebA

    gdown = pytest.importorskip("gdown")
    folder = root / "celeba"
    files = [(name, hashlib.md5((folder / name).read_bytes()).hexdigest(), name) for name in (ARCHIVE, PARTITION)]
    monkeypatch.setattr(CelebA, "file_list", files)

    def fetched(*, id: str, output: str, quiet: bool, timeout: float) -> str:
        Path(output + "half.part").write_bytes(b"what gdown leaves behind")
        return shutil.copy(folder / id, output)

    monkeypatch.setattr(gdown, "download", fetched)
    return folder


def test_faces_are_downloaded_once(drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "new"
    dataset = load(root, download=True)
    assert "CelebA: downloading to" in capsys.readouterr().out
    assert dataset.source == "CelebA, 3 images downloaded"
    assert sorted(path.name for path in (root / "celeba").iterdir()) == [ARCHIVE, PARTITION]
    shutil.rmtree(drive)
    assert load(root, download=True).fingerprint == dataset.fingerprint
    assert "downloading" not in capsys.readouterr().out


def test_the_wrong_md5_leaves_nothing(drive: Path, tmp_path: Path) -> None:
    (drive / ARCHIVE).write_bytes(b"<html>Quota exceeded</html>")
    root = tmp_path / "new"
    refused(lambda: load(root, download=True), ARCHIVE, "md5", f"{root / 'celeba'}")
    assert not root.exists()


def test_googles_refusal(drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**settings: object) -> None:
        raise gdown.exceptions.FileURLRetrievalError("Cannot retrieve the public link.\n\tToo many users have viewed")

    gdown = pytest.importorskip("gdown")
    monkeypatch.setattr(gdown, "download", refuse)
    root = tmp_path / "new"
    text = refused(lambda: load(root, download=True), "Too many users", f"dataset.root={root}")
    assert text.endswith(f"put {ARCHIVE} and {PARTITION} into {root / 'celeba'}")
    assert not root.exists()


def test_a_download_without_gdown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gdown", None)
    text = refused(lambda: load(tmp_path, download=True), "needs gdown (pip install 'gan-cli[celeba]')")
    assert text.endswith(f"put {ARCHIVE} and {PARTITION} into {tmp_path / 'celeba'}")
    assert "gan-cli[celeba]" not in refused(lambda: load(tmp_path), "dataset.download=false")
