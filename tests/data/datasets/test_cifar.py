"""CIFAR in its binary version: where its files may lie, and damage in them."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets.cifar import CIFAR10, CIFAR100, load_cifar
from gan_cli.data.decoding.resize import crop_and_resize_batch
from gan_cli.errors import UsageError
from support.errors import refused
from support.published.arrays import write_cifar10, write_cifar100
from support.published.pictures import extract_archives, read_tar, special_member, write_tar

BATCH = f"{CIFAR10.folder}/data_batch_1.bin"


def load10(root: Path, split: str = "train", size: tuple[int, int] = (32, 32)) -> Dataset:
    return load_cifar(CIFAR10, root=str(root), download=False, split=split, image_size=size)


def load100(root: Path) -> Dataset:
    return load_cifar(CIFAR100, root=str(root), download=False, split="train", image_size=(32, 32))


def test_extracted_files_may_lie_in_the_root_itself(tmp_path: Path) -> None:
    expected = write_cifar10(tmp_path)["train"]
    extract_archives(tmp_path)
    for path in (tmp_path / CIFAR10.folder).iterdir():
        path.rename(tmp_path / path.name)
    dataset = load10(tmp_path)
    assert torch.equal(dataset.samples, torch.from_numpy(expected.images))
    assert dataset.source == f"CIFAR-10, 100 images from {tmp_path}"


def test_all_classes_of_cifar100_are_named(tmp_path: Path) -> None:
    write_cifar100(tmp_path)
    classes = load100(tmp_path).classes
    assert len(set(classes)) == 100
    assert classes == tuple(sorted(classes))


def test_images_are_resized_as_any_others(tmp_path: Path) -> None:
    images = torch.from_numpy(write_cifar10(tmp_path, per_file=210)["train"].images)  # more than a chunk
    for size in ((16, 16), (48, 24)):
        assert torch.equal(load10(tmp_path, size=size).samples, crop_and_resize_batch(images, size))


def test_images_that_fit_no_memory(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    size = (1 << 24, 1 << 24)
    refused(lambda: load10(tmp_path, size=size), "image_size=[16777216,16777216]", "use a smaller one")


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
def test_damage_within_a_file_is_named(tmp_path: Path, mend: Callable[[bytes], bytes], why: str) -> None:
    write_cifar10(tmp_path)
    members = read_tar(tmp_path / CIFAR10.name)
    name = f"{CIFAR10.folder}/data_batch_3.bin"
    members[name] = mend(members[name])
    write_tar(tmp_path / CIFAR10.name, members)
    refused(lambda: load10(tmp_path), str(tmp_path / CIFAR10.name), "data_batch_3.bin", why, "get it again")
    extract_archives(tmp_path)
    refused(lambda: load10(tmp_path), str(tmp_path / name), why, "get it again")


@pytest.mark.parametrize(("column", "expected"), [(0, "expected 0 to 19"), (1, "expected 0 to 99")])
def test_labels_of_cifar100_out_of_range(tmp_path: Path, column: int, expected: str) -> None:
    write_cifar100(tmp_path)
    members = read_tar(tmp_path / CIFAR100.name)
    name = f"{CIFAR100.folder}/train.bin"
    members[name] = change(members[name], column, 100)
    write_tar(tmp_path / CIFAR100.name, members)
    refused(lambda: load100(tmp_path), "train.bin", "has the label 100", expected)


def test_more_records_than_were_published(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    few = replace(CIFAR10, most=19)
    with pytest.raises(UsageError, match="expected 1 to 19 times 3,073"):
        load_cifar(few, root=str(tmp_path), download=False, split="test", image_size=(32, 32))


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
    for content in (gzip.compress(b"not a tar" * 1000), gzip.compress(b"")):
        path.write_bytes(content)
        refused(lambda: load10(tmp_path), str(path), "get it again")


@pytest.mark.parametrize(
    "kind",
    [None, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE],
    ids=["missing", "symbolic link", "hard link", "folder", "pipe"],
)
def test_a_member_that_is_no_file_counts_as_missing(tmp_path: Path, kind: bytes | None) -> None:
    write_cifar10(tmp_path)
    members: dict[str, bytes | tarfile.TarInfo] = dict(read_tar(tmp_path / CIFAR10.name))
    del members[BATCH]
    if kind is not None:
        members[BATCH] = special_member(BATCH, kind, f"{CIFAR10.folder}/data_batch_2.bin")
    write_tar(tmp_path / CIFAR10.name, members)
    refused(lambda: load10(tmp_path), str(tmp_path / CIFAR10.name), f"has no file {BATCH}")
    load10(tmp_path, "test")  # needs another


@pytest.mark.parametrize("name", ["/{}", "../{}", "data_batch_1.bin", "/data_batch_1.bin", f"{CIFAR10.folder}/../{{}}"])
def test_a_member_elsewhere_counts_as_missing(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    write_cifar10(root)
    members = read_tar(root / CIFAR10.name)
    write_tar(root / CIFAR10.name, {(name.format(BATCH) if old == BATCH else old): new for old, new in members.items()})
    refused(lambda: load10(root), "has no file")
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
    assert [path.name for path in root.iterdir()] == [CIFAR10.name]


def test_members_may_begin_with_a_dot(tmp_path: Path) -> None:
    expected = write_cifar10(tmp_path)["train"]
    members = read_tar(tmp_path / CIFAR10.name)
    write_tar(tmp_path / CIFAR10.name, {f"./{name}": content for name, content in members.items()})
    assert torch.equal(load10(tmp_path).samples, torch.from_numpy(expected.images))
