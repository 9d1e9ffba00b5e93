"""CIFAR, STL-10, SVHN and CelebA: small copies in their own formats, and whatever can be wrong with them."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets import celeba, downloaded_archives, stl10
from gan_cli.data.datasets.celeba import ARCHIVE, IMAGE_FOLDER, PARTITION, build_celeba
from gan_cli.data.datasets.cifar import CIFAR10, CIFAR100, CifarSource, load_cifar
from gan_cli.data.datasets.stl10 import load_stl10
from gan_cli.data.datasets.torchvision_reader import load_torchvision_set
from gan_cli.data.datasets.torchvision_sets import TABLE
from gan_cli.data.decoding.resize import crop_and_resize_batch, crop_box
from gan_cli.data.selection import Selection
from gan_cli.errors import UsageError
from gan_cli.storage.download import DownloadError, download
from support.datasets import (
    accept_svhn,
    write_celeba,
    write_cifar10,
    write_cifar100,
    write_stl10,
    write_svhn,
    write_tar,
)

# --- small copies ------------------------------------------------------------------------------------------------


def read_tar(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isreg()}  # type: ignore[union-attr]


# --- loading them ------------------------------------------------------------------------------------------------


def load10(root: Path, split: str = "train", *, download: bool = False, size: tuple[int, int] = (32, 32)) -> Dataset:
    return load_cifar(CIFAR10, root=str(root), download=download, split=split, image_size=size)


def load100(root: Path, split: str = "train", *, download: bool = False, size: tuple[int, int] = (32, 32)) -> Dataset:
    return load_cifar(CIFAR100, root=str(root), download=download, split=split, image_size=size)


def load_stl(root: Path, split: str = "train", *, download: bool = False, size: tuple[int, int] = (96, 96)) -> Dataset:
    return load_stl10(root=str(root), download=download, split=split, image_size=size)


def load_mat(root: Path, split: str = "train", *, download: bool = False, size: tuple[int, int] = (32, 32)) -> Dataset:
    selection = Selection()
    return load_torchvision_set(
        "svhn", root=str(root), download=download, split=split, image_size=size, selection=selection
    )


def load_faces(
    root: Path, split: str = "train", *, download: bool = False, size: tuple[int, int] = (218, 178), **kept: object
) -> Dataset:
    selection = Selection(**kept)  # type: ignore[arg-type]
    return build_celeba(root=str(root), download=download, split=split, image_size=size, selection=selection)


def extract(root: Path, name: str, into: Path) -> None:
    with tarfile.open(root / name) as tar:
        tar.extractall(into, filter="data")
    (root / name).unlink()


def same(dataset: Dataset, images: np.ndarray, labels: np.ndarray) -> bool:
    assert dataset.samples.dtype == torch.uint8
    assert dataset.labels is not None
    assert dataset.labels.dtype == torch.int64
    return torch.equal(dataset.samples, torch.from_numpy(images.copy())) and dataset.labels.tolist() == labels.tolist()


def refused(load: Callable[[], Dataset], *words: str) -> str:
    """The text of the UsageError, one line that has all these words."""
    with pytest.raises(UsageError) as caught:
        load()
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text
    return text


@pytest.fixture(autouse=True)
def _nothing_unpickled(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **settings: object) -> None:
        raise AssertionError("unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, fail)


# --- CIFAR -------------------------------------------------------------------------------------------------------


def test_cifar10_pixel_by_pixel(tmp_path: Path) -> None:
    images, labels = write_cifar10(tmp_path)
    train, test = load10(tmp_path), load10(tmp_path, "test")
    assert same(train, images[:100], labels[:100])
    assert same(test, images[100:], labels[100:])
    assert train.classes == CIFAR10.classes
    assert train.complete
    assert train.source == f"CIFAR-10, 100 images from {tmp_path / CIFAR10.name}"
    assert test.source.startswith("CIFAR-10 (test), 20 images")
    assert [path.name for path in tmp_path.iterdir()] == [CIFAR10.name]  # nothing extracted


def test_cifar100_has_its_fine_labels(tmp_path: Path) -> None:
    images, labels = write_cifar100(tmp_path)
    assert same(load100(tmp_path), images[:40], labels[:40])
    assert same(load100(tmp_path, "test"), images[40:], labels[40:])
    classes = load100(tmp_path).classes
    assert len(set(classes)) == 100
    assert classes == tuple(sorted(classes))


@pytest.mark.parametrize("within", ["", CIFAR10.folder])
def test_cifar_extracted_is_as_archived(tmp_path: Path, within: str) -> None:
    images, labels = write_cifar10(tmp_path)
    extract(tmp_path, CIFAR10.name, tmp_path)
    if not within:
        for path in (tmp_path / CIFAR10.folder).iterdir():
            path.rename(tmp_path / path.name)
    dataset = load10(tmp_path)
    assert same(dataset, images[:100], labels[:100])
    assert dataset.source.endswith(f"from {tmp_path / within}")


def test_cifar_is_resized_as_any_images_are(tmp_path: Path) -> None:
    images, _ = write_cifar10(tmp_path, per_file=210)  # more than a chunk
    for size in ((16, 16), (48, 24)):
        assert torch.equal(
            load10(tmp_path, size=size).samples, crop_and_resize_batch(torch.from_numpy(images[:1050]), size)
        )


def test_images_that_fit_no_memory(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    refused(lambda: load10(tmp_path, size=(1 << 24, 1 << 24)), "image_size=[16777216,16777216]", "use a smaller one")


def change(content: bytes, at: int, byte: int) -> bytes:
    return content[:at] + bytes([byte]) + content[at + 1 :]


@pytest.mark.parametrize(
    ("mend", "why"),
    [
        (lambda content: content[:-1], "has 61,459 bytes, expected 1 to 10,000 times 3,073"),
        (lambda content: b"", "has 0 bytes"),
        (lambda content: content + content[:5], "61,465 bytes"),
        (lambda content: change(content, 3073 * 3, 10), "has the label 10, expected 0 to 9"),
    ],
)
def test_damage_within_a_cifar10_file_is_named(tmp_path: Path, mend: Callable[[bytes], bytes], why: str) -> None:
    write_cifar10(tmp_path)
    members = read_tar(tmp_path / CIFAR10.name)
    name = f"{CIFAR10.folder}/data_batch_3.bin"
    members[name] = mend(members[name])
    write_tar(tmp_path / CIFAR10.name, members)
    refused(lambda: load10(tmp_path), str(tmp_path / CIFAR10.name), "data_batch_3.bin", why, "get it again")
    extract(tmp_path, CIFAR10.name, tmp_path)
    refused(lambda: load10(tmp_path), str(tmp_path / name), why, "get it again")


def test_labels_of_cifar100_out_of_range(tmp_path: Path) -> None:
    for column, expected in ((0, "expected 0 to 19"), (1, "expected 0 to 99")):
        write_cifar100(tmp_path)
        members = read_tar(tmp_path / CIFAR100.name)
        name = f"{CIFAR100.folder}/train.bin"
        members[name] = change(members[name], column, 100)
        write_tar(tmp_path / CIFAR100.name, members)
        refused(lambda: load100(tmp_path), "train.bin", "has the label 100", expected)


def test_more_records_than_were_published(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    few = replace(CIFAR10, most=19)
    refused(
        lambda: load_cifar(few, root=str(tmp_path), download=False, split="test", image_size=(32, 32)),
        "expected 1 to 19 times 3,073",
    )


@pytest.mark.parametrize("kept", [0, 5, 30, 1000, -8, -1])
def test_a_cut_archive(tmp_path: Path, kept: int) -> None:
    write_cifar10(tmp_path)
    path = tmp_path / CIFAR10.name
    path.write_bytes(path.read_bytes()[:kept])
    for split in ("train", "test"):  # the test's file lies before the cut at -8
        refused(lambda split=split: load10(tmp_path, split), str(path), "get it again")


def test_a_flipped_byte_is_noticed_even_after_what_is_needed(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    path = tmp_path / CIFAR10.name
    content = path.read_bytes()
    for at in range(100, len(content), len(content) // 7):
        path.write_bytes(change(content, at, content[at] ^ 1))
        refused(lambda: load10(tmp_path, "test"), str(path))


def test_what_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / CIFAR10.name
    for content in (b"<html>Not found</html>", gzip.compress(b"not a tar" * 1000), gzip.compress(b"")):
        path.write_bytes(content)
        refused(lambda: load10(tmp_path), str(path), "get it again")


def link(name: str, kind: bytes, target: str) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, target
    return header


@pytest.mark.parametrize(
    "kind",
    [None, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE],
    ids=["missing", "symbolic link", "hard link", "folder", "pipe"],
)
def test_a_member_that_is_no_file_counts_as_missing(tmp_path: Path, kind: bytes | None) -> None:
    write_cifar10(tmp_path)
    members: dict[str, bytes | tarfile.TarInfo] = dict(read_tar(tmp_path / CIFAR10.name))
    name = f"{CIFAR10.folder}/data_batch_1.bin"
    del members[name]
    if kind is not None:
        members[name] = link(name, kind, f"{CIFAR10.folder}/data_batch_2.bin")
    write_tar(tmp_path / CIFAR10.name, members)
    refused(lambda: load10(tmp_path), str(tmp_path / CIFAR10.name), f"has no file {name}")
    load10(tmp_path, "test")  # needs another


@pytest.mark.parametrize(
    "name",
    [
        "/{}/data_batch_1.bin",
        "../{}/data_batch_1.bin",
        "data_batch_1.bin",
        "/data_batch_1.bin",
        "{}/../{}/data_batch_1.bin",
    ],
)
def test_a_member_elsewhere_counts_as_missing(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    write_cifar10(root)
    members = read_tar(root / CIFAR10.name)
    members = {(name.format(*[CIFAR10.folder] * 2) if "batch_1" in old else old): new for old, new in members.items()}
    write_tar(root / CIFAR10.name, members)
    refused(lambda: load10(root), "has no file")
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
    assert [path.name for path in root.iterdir()] == [CIFAR10.name]


def test_members_may_begin_with_a_dot(tmp_path: Path) -> None:
    images, labels = write_cifar10(tmp_path)
    members = read_tar(tmp_path / CIFAR10.name)
    write_tar(tmp_path / CIFAR10.name, {f"./{name}": content for name, content in members.items()})
    assert same(load10(tmp_path), images[:100], labels[:100])


def test_absent_files_and_no_download(tmp_path: Path) -> None:
    root = tmp_path / "nowhere"
    for load, name in ((load10, CIFAR10.name), (load100, CIFAR100.name), (load_stl, stl10.STL10.name)):
        refused(partial(load, root), f"dataset.root={root}", "dataset.download=false", f"put {name} into {root}")
    assert list(tmp_path.iterdir()) == []


# --- STL-10 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extracted", [False, True])
def test_stl10_pixel_by_pixel(tmp_path: Path, extracted: bool) -> None:
    images, labels = write_stl10(tmp_path)
    if extracted:
        extract(tmp_path, stl10.STL10.name, tmp_path)
    for split in ("train", "test"):
        dataset = load_stl(tmp_path, split)
        assert same(dataset, images[split], labels[split])
        assert dataset.classes == stl10.CLASSES
    unlabeled = load_stl(tmp_path, "unlabeled")
    assert torch.equal(unlabeled.samples, torch.from_numpy(images["unlabeled"]))
    assert unlabeled.labels is None
    assert unlabeled.classes == ()
    assert unlabeled.source.startswith("STL-10 (unlabeled), 4 images from")


def test_stl10_is_resized_chunk_by_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, _ = write_stl10(tmp_path)
    seen = []

    def counted(chunk: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        seen.append(len(chunk))
        return crop_and_resize_batch(chunk, size)

    monkeypatch.setattr(stl10, "CHUNK", 3)
    monkeypatch.setattr(downloaded_archives, "crop_and_resize_batch", counted)
    resized = load_stl(tmp_path, "unlabeled", size=(64, 48)).samples
    assert torch.equal(resized, crop_and_resize_batch(torch.from_numpy(images["unlabeled"]), (64, 48)))
    assert seen == [3, 1]


def test_a_long_wait_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_stl10(tmp_path)
    monkeypatch.setattr(downloaded_archives, "SLOW_BYTES", 1000)
    load_stl(tmp_path)
    assert "STL-10: reading" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("train_y.bin", b"\1\2\0", "has labels from 0 to 2, expected 1 to 10"),
        ("train_y.bin", b"\1\2\13", "has labels from 1 to 11"),
        ("train_y.bin", b"\1\2", "3 pictures do not fit 2 labels"),
        ("train_y.bin", b"", "0 bytes"),
        ("train_X.bin", b"\0" * 27_647, "27,647 bytes, expected 1 to 100,000 times 27,648"),
    ],
    ids=["label 0", "label 11", "a label missing", "no labels", "a byte missing"],
)
def test_damage_within_stl10(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    write_stl10(tmp_path)
    members = read_tar(tmp_path / stl10.STL10.name)
    write_tar(tmp_path / stl10.STL10.name, {**members, f"stl10_binary/{name}": content})
    refused(lambda: load_stl(tmp_path), stl10.STL10.name, why)
    extract(tmp_path, stl10.STL10.name, tmp_path)
    refused(lambda: load_stl(tmp_path), str(tmp_path / "stl10_binary"), why)


def test_a_file_that_ends_before_its_size() -> None:
    member = downloaded_archives.ArchiveMember(io.BytesIO(b"1234"), 8, "some file")
    assert member.count(8, 1) == 1
    with pytest.raises(UsageError, match="some file: ends too early"):
        member.read(8)


# --- SVHN --------------------------------------------------------------------------------------------------------


def test_svhn_pixel_by_pixel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, digits = write_svhn(tmp_path)
    write_svhn(tmp_path, "extra", 5)
    accept_svhn(monkeypatch, tmp_path)
    dataset = load_mat(tmp_path)
    assert same(dataset, images, digits)
    assert dataset.classes == tuple("0123456789")
    assert dataset.source == f"SVHN, 12 images from {tmp_path / 'train_32x32.mat'}"
    assert load_mat(tmp_path, "extra", size=(20, 16)).samples.shape == (5, 3, 20, 16)
    refused(lambda: load_mat(tmp_path, "test"), "dataset.download=false", f"put test_32x32.mat into {tmp_path}")


def test_an_svhn_file_of_another_md5_is_not_read(tmp_path: Path) -> None:
    write_svhn(tmp_path)
    refused(lambda: load_mat(tmp_path), str(tmp_path), "SVHN", "not found or corrupted", "get them again")


def test_svhn_without_scipy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("scipy", "scipy.io"):
        monkeypatch.setitem(sys.modules, name, None)
    refused(lambda: load_mat(tmp_path, download=True), "dataset=svhn needs scipy: pip install 'gan-cli[svhn]'")


# --- CelebA ------------------------------------------------------------------------------------------------------

SPLITS = {"train": [0, 1, 4], "valid": [2], "test": [3, 5], "all": [0, 1, 2, 3, 4, 5]}


@pytest.mark.parametrize("extracted", [False, True])
def test_celeba_pixel_by_pixel(tmp_path: Path, extracted: bool) -> None:
    folder = tmp_path / "celeba"
    pixels = write_celeba(folder)
    if extracted:
        with zipfile.ZipFile(folder / ARCHIVE) as archive:
            archive.extractall(folder)
        (folder / ARCHIVE).unlink()
    for split, numbers in SPLITS.items():
        dataset = load_faces(tmp_path, split)
        assert torch.equal(dataset.samples, torch.from_numpy(pixels[numbers]))
        assert dataset.labels is None
        assert dataset.classes == ()
    assert load_faces(tmp_path).source == f"CelebA, 3 images from {folder / (IMAGE_FOLDER if extracted else ARCHIVE)}"


def test_celeba_is_cut_in_its_middle(tmp_path: Path) -> None:
    pixels = write_celeba(tmp_path / "celeba")
    square = load_faces(tmp_path, size=(178, 178)).samples
    top, left, height, width = crop_box(218, 178, (178, 178))
    assert (top, left, height, width) == (20, 0, 178, 178)
    assert torch.equal(square, torch.from_numpy(pixels[SPLITS["train"]][:, :, 20:198]))
    for size in ((64, 64), (48, 24)):
        assert load_faces(tmp_path, size=size).samples.shape == (3, 3, *size)
    small = load_faces(tmp_path, size=(64, 64)).samples.float()
    expected = crop_and_resize_batch(torch.from_numpy(pixels[SPLITS["train"]]), (64, 64)).float()
    assert (small - expected).abs().mean() < 6


def test_celeba_without_a_partition(tmp_path: Path) -> None:
    write_celeba(tmp_path / "celeba")
    (tmp_path / "celeba" / PARTITION).unlink()
    assert len(load_faces(tmp_path, "all")) == 6
    refused(lambda: load_faces(tmp_path), f"put {PARTITION} into {tmp_path / 'celeba'}", "dataset.download=false")


def test_celeba_reads_only_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = write_celeba(tmp_path / "celeba")
    decoded = []
    decode = celeba._Faces.read_image
    monkeypatch.setattr(celeba._Faces, "read_image", lambda self, file: decoded.append(file.name) or decode(self, file))
    selection = Selection(limit=4)
    dataset = load_faces(tmp_path, "all", limit=4)
    assert len(decoded) == 4
    assert torch.equal(dataset.samples, torch.from_numpy(pixels)[selection.indices(None, (), 6)])
    assert dataset.source.endswith("; 4 of 6 kept")
    assert selection.apply(dataset) is dataset
    refused(lambda: load_faces(tmp_path, classes=("smiling",)), "dataset.classes=[smiling]")


def rewrite_zip(path: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if (changed := change(name, content)) is not None:
                archive.writestr(name, changed)


def png(size: tuple[int, int], kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("extracted", [False, True])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, ""),
        (b"", "cannot be decoded"),
        (b"no picture", "cannot be decoded"),
        (png((178, 218)), "cannot be decoded"),
        (png((64, 64), "JPEG"), "is 64x64, CelebA's are 178x218"),
    ],
    ids=["missing", "empty", "no picture", "a PNG", "another size"],
)
def test_a_damaged_face_is_named(tmp_path: Path, extracted: bool, content: bytes | None, why: str) -> None:
    folder = tmp_path / "celeba"
    write_celeba(folder)
    rewrite_zip(folder / ARCHIVE, lambda name, old: content if name.endswith("2.jpg") else old)
    if extracted:
        with zipfile.ZipFile(folder / ARCHIVE) as archive:
            archive.extractall(folder)
    refused(lambda: load_faces(tmp_path), str(folder / IMAGE_FOLDER), "000002.jpg", why)
    assert len(load_faces(tmp_path, "test")) == 2


def test_a_truncated_face_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "celeba"
    write_celeba(folder)
    rewrite_zip(folder / ARCHIVE, lambda name, old: old[: len(old) // 2] if name.endswith("5.jpg") else old)
    refused(lambda: load_faces(tmp_path), str(folder / ARCHIVE), "000005.jpg", "truncated")


def test_a_flipped_byte_in_the_zip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "celeba" / ARCHIVE
    write_celeba(path.parent)
    content = path.read_bytes()
    at = content.index(b"000002.jpg") + 3000
    path.write_bytes(change(content, at, content[at] ^ 255))
    refused(lambda: load_faces(tmp_path), str(path), "000002.jpg", "damaged in the zip")


def test_what_is_no_zip_of_faces(tmp_path: Path) -> None:
    path = tmp_path / "celeba" / ARCHIVE
    write_celeba(path.parent)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-10], b"<html>Quota exceeded</html>", b""):
        path.write_bytes(content)
        refused(lambda: load_faces(tmp_path), str(path), "damaged archive", "get it again")
    with zipfile.ZipFile(path, "w") as archive:
        for name in (
            "/etc/1.jpg",
            f"../{IMAGE_FOLDER}/1.jpg",
            f"{IMAGE_FOLDER}/../1.jpg",
            f"{IMAGE_FOLDER}/deep/1.jpg",
        ):
            archive.writestr(name, b"")
    refused(lambda: load_faces(tmp_path, "all"), str(path), "has no pictures in img_align_celeba/")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"000001.jpg 0\n000002.jpg\n", "line 2 is '000002.jpg'"),
        (b"000001.jpg 3\n", "line 1 is '000001.jpg 3'"),
        (b"../../../etc/passwd 0\n", "line 1"),
        (b"../1.jpg 0\n", "line 1"),
        (b"000001.jpg 1\n", "names no pictures of the split train"),
        (b"", "names no pictures"),
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
        "no such picture",
    ],
)
def test_a_damaged_partition(tmp_path: Path, text: bytes, why: str) -> None:
    folder = tmp_path / "celeba"
    write_celeba(folder)
    (folder / PARTITION).write_bytes(text)
    refused(lambda: load_faces(tmp_path), str(folder), why)


# --- gdown -------------------------------------------------------------------------------------------------------


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for Google Drive, and a gdown that copies from it."""
    gdown = pytest.importorskip("gdown")
    folder = tmp_path / "drive"
    write_celeba(folder)
    md5 = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in (ARCHIVE, PARTITION)}
    monkeypatch.setattr(torchvision.datasets.CelebA, "file_list", [(name, md5[name], name) for name in md5])

    def fetched(*, id: str, output: str, quiet: bool, timeout: float) -> str:
        Path(output + "half.part").write_bytes(b"what gdown leaves behind")
        return shutil.copy(folder / id, output)

    monkeypatch.setattr(gdown, "download", fetched)
    return folder


def test_celeba_is_downloaded_once(drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "root"
    dataset = load_faces(root, download=True)
    assert "CelebA: downloading to" in capsys.readouterr().out
    assert dataset.source == "CelebA, 3 images downloaded"
    assert sorted(path.name for path in (root / "celeba").iterdir()) == [ARCHIVE, PARTITION]
    shutil.rmtree(drive)
    assert load_faces(root, download=True).fingerprint == dataset.fingerprint
    assert "downloading" not in capsys.readouterr().out


def test_celeba_with_the_wrong_md5_leaves_nothing(drive: Path, tmp_path: Path) -> None:
    (drive / ARCHIVE).write_bytes(b"<html>Quota exceeded</html>")
    refused(lambda: load_faces(tmp_path / "root", download=True), ARCHIVE, "md5", f"{tmp_path / 'root' / 'celeba'}")
    assert not (tmp_path / "root").exists()


def test_googles_refusal(drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**settings: object) -> None:
        raise gdown.exceptions.FileURLRetrievalError("Cannot retrieve the public link.\n\tToo many users have viewed")

    gdown = pytest.importorskip("gdown")
    monkeypatch.setattr(gdown, "download", refuse)
    root = tmp_path / "root"
    text = refused(lambda: load_faces(root, download=True), "Too many users", f"dataset.root={root}")
    assert text.endswith(f"put {ARCHIVE} and {PARTITION} into {root / 'celeba'}")
    assert not root.exists()


def test_celeba_without_gdown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gdown", None)
    text = refused(lambda: load_faces(tmp_path, download=True), "needs gdown (pip install 'gan-cli[celeba]')")
    assert text.endswith(f"put {ARCHIVE} and {PARTITION} into {tmp_path / 'celeba'}")
    assert "gan-cli[celeba]" not in refused(lambda: load_faces(tmp_path), "dataset.download=false")


# --- downloads ---------------------------------------------------------------------------------------------------


def mirrored(source: CifarSource, server: tuple[str, Path]) -> CifarSource:
    md5 = hashlib.md5((server[1] / source.name).read_bytes()).hexdigest()
    return replace(source, mirrors=("http://127.0.0.1:9/", server[0]), md5=md5)


def test_cifar_is_downloaded_once(server: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = write_cifar10(server[1])
    source, root = mirrored(CIFAR10, server), tmp_path / "root"
    dataset = load_cifar(source, root=str(root), download=True, split="train", image_size=(32, 32))
    assert capsys.readouterr().out == f"CIFAR-10: downloading to {root}\n"
    assert same(dataset, images[:100], labels[:100])
    assert dataset.source == "CIFAR-10, 100 images downloaded"
    assert [path.name for path in root.iterdir()] == [CIFAR10.name]
    assert load10(root).fingerprint == dataset.fingerprint


def test_stl10_and_svhn_are_downloaded(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, folder = server
    write_stl10(folder)
    write_svhn(folder)
    md5 = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    monkeypatch.setattr(stl10, "STL10", replace(stl10.STL10, mirrors=(address,), md5=md5["stl10_binary.tar.gz"]))
    accept_svhn(monkeypatch, folder, address)
    for load in (load_stl, load_mat):
        assert load(tmp_path / "root", download=True).source.endswith("downloaded")
        load(tmp_path / "root")
    refused(lambda: load_mat(tmp_path / "root", "extra", download=True), "cannot be downloaded", "put extra_32x32.mat")


def test_the_wrong_md5_leaves_nothing(server: tuple[str, Path], tmp_path: Path) -> None:
    write_cifar10(server[1])
    source, root = replace(CIFAR10, mirrors=(server[0],)), tmp_path / "root"
    refused(
        lambda: load_cifar(source, root=str(root), download=True, split="train", image_size=(32, 32)),
        f"dataset.root={root}",
        "cannot be downloaded",
        "md5",
        f"put {CIFAR10.name} into {root}",
    )
    assert not root.exists()


def test_a_download_larger_than_allowed_leaves_nothing(server: tuple[str, Path], tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    (server[1] / "file").write_bytes(content)
    md5 = hashlib.md5(content).hexdigest()
    with pytest.raises(DownloadError, match="larger than 1 MiB"):
        download([server[0]], "file", md5, tmp_path / "root", most_bytes=1 << 20)
    assert not (tmp_path / "root").exists()
    assert download([server[0]], "file", md5, tmp_path / "root", most_bytes=3 << 20).read_bytes() == content


def test_the_limits_let_the_real_files_pass() -> None:
    assert stl10.STL10.most_bytes > 2_640_397_119
    svhn = TABLE["svhn"].files(torchvision.datasets.SVHN, {"split": "extra"})
    assert svhn[0].most_bytes > 1_329_278_602
    assert CIFAR10.most_bytes > 170_052_171


def test_a_terminal_gets_a_bar(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (server[1] / "file").write_bytes(b"content" * 100_000)
    md5 = hashlib.md5(b"content" * 100_000).hexdigest()
    monkeypatch.setenv("TERM", "xterm")
    for terminal in (False, True):
        monkeypatch.setattr(sys.stdout, "isatty", lambda terminal=terminal: terminal)
        download([server[0]], "file", md5, tmp_path / str(terminal))
        shown = capsys.readouterr().out
        assert ("700.0/700.0 kB" in shown) == terminal
