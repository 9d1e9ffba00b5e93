"""Small data sets in the formats in which MNIST, CIFAR, STL-10, SVHN and CelebA are published."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_cli.data.datasets import stl10
from gan_cli.data.datasets.celeba import ARCHIVE, IMAGE_FOLDER, PARTITION
from gan_cli.data.datasets.cifar import CIFAR10, CIFAR100
from gan_cli.data.datasets.mnist_family import IMAGES, LABELS


def idx_bytes(array: np.ndarray) -> bytes:
    """Returns an array of uint8 in the idx format of MNIST."""
    return struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


def write_digits(folder: Path, count: int = 30, *, compress: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Writes the training files of an MNIST. Returns the images `[N, 28, 28]` and the labels `[N]`."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    labels = random.integers(0, 10, count, dtype=np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in ((IMAGES, images), (LABELS, labels)):
        content = idx_bytes(array)
        path = folder / (f"{name}.gz" if compress else name)
        path.write_bytes(gzip.compress(content) if compress else content)
    return images, labels


CIFAR10_FILES = (*CIFAR10.files["train"], *CIFAR10.files["test"])


def write_tar(path: Path, members: Mapping[str, bytes | tarfile.TarInfo]) -> None:
    """Writes a tar.gz. A member is the content of a file, or a header without content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
            else:
                header = tarfile.TarInfo(name)
                header.size = len(content)
                tar.addfile(header, io.BytesIO(content))


def tar_folder(name: str) -> tarfile.TarInfo:
    """Returns the header of a folder."""
    header = tarfile.TarInfo(name)
    header.type = tarfile.DIRTYPE
    return header


def write_cifar10(folder: Path, per_file: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Writes CIFAR-10's archive. Returns the images `[6 * per_file, 3, 32, 32]` and labels, the test file last."""
    random = np.random.default_rng(10)
    images = random.integers(0, 256, (6 * per_file, 3, 32, 32), dtype=np.uint8)
    labels = (np.arange(6 * per_file) * 7 % 10).astype(np.uint8)
    records = np.concatenate([labels[:, None], images.reshape(len(images), -1)], axis=1)
    parts = dict(zip(CIFAR10_FILES, np.split(records, 6), strict=True))
    order = ("data_batch_1.bin", "batches.meta.txt", "data_batch_3.bin", "data_batch_4.bin", "test_batch.bin",
             "readme.html", "data_batch_5.bin", "data_batch_2.bin")  # fmt: skip
    texts = {"batches.meta.txt": ("\n".join(CIFAR10.classes) + "\n\n").encode(), "readme.html": b"<html></html>"}
    members: dict[str, bytes | tarfile.TarInfo] = {CIFAR10.folder: tar_folder(CIFAR10.folder)}
    members |= {f"{CIFAR10.folder}/{name}": texts[name] if name in texts else parts[name].tobytes() for name in order}
    write_tar(folder / CIFAR10.name, members)
    return images, labels.astype(np.int64)


def write_cifar100(folder: Path, train: int = 40, test: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Writes CIFAR-100's archive. Returns the images and fine labels, the test file last."""
    random = np.random.default_rng(100)
    images = random.integers(0, 256, (train + test, 3, 32, 32), dtype=np.uint8)
    labels = random.integers(0, 100, train + test, dtype=np.uint8)
    coarse = random.integers(0, 20, train + test, dtype=np.uint8)
    records = np.concatenate([coarse[:, None], labels[:, None], images.reshape(len(images), -1)], axis=1)
    members: dict[str, bytes | tarfile.TarInfo] = {
        f"{CIFAR100.folder}/train.bin": records[:train].tobytes(),
        f"{CIFAR100.folder}/test.bin": records[train:].tobytes(),
        f"{CIFAR100.folder}/fine_label_names.txt": "\n".join(CIFAR100.classes).encode(),
        f"{CIFAR100.folder}/coarse_label_names.txt": b"",
    }
    write_tar(folder / CIFAR100.name, members)
    return images, labels.astype(np.int64)


def write_stl10(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Writes STL-10's archive. Returns, by split, the images and the labels, which count from 0."""
    random = np.random.default_rng(96)
    counts = {"test": 2, "train": 3, "unlabeled": 4}
    images = {split: random.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8) for split, count in counts.items()}
    labels = {"test": np.array([0, 9]), "train": np.array([9, 0, 4])}
    members: dict[str, bytes | tarfile.TarInfo] = {"stl10_binary/": tar_folder("stl10_binary/")}
    for split in counts:
        members[f"stl10_binary/{split}_X.bin"] = images[split].transpose(0, 1, 3, 2).tobytes()
        if split in labels:
            members[f"stl10_binary/{split}_y.bin"] = (labels[split] + 1).astype(np.uint8).tobytes()
    members["stl10_binary/class_names.txt"] = "\n".join(stl10.CLASSES).encode()
    write_tar(folder / stl10.STL10.name, members)
    return images, labels


def write_svhn(folder: Path, split: str = "train", count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Writes one file of SVHN. Returns its images `[N, 3, 32, 32]` and digits."""
    savemat = pytest.importorskip("scipy.io").savemat
    random = np.random.default_rng(32)
    images = random.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    digits = np.arange(count) % 10
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.where(digits == 0, 10, digits).astype(np.uint8)[:, None]
    savemat(folder / f"{split}_32x32.mat", {"X": images.transpose(2, 3, 1, 0), "y": labels}, do_compression=True)
    return images, digits


def accept_svhn(patch: pytest.MonkeyPatch, folder: Path, address: str = "http://127.0.0.1:9/") -> None:
    """Makes torchvision accept the files of SVHN in `folder`, with `address` as the place to download from."""
    from torchvision.datasets import SVHN

    files = {}
    for split, (_, name, md5) in SVHN.split_list.items():
        path = folder / name
        found = hashlib.md5(path.read_bytes()).hexdigest() if path.is_file() else md5
        files[split] = [address + name, name, found]
    patch.setattr(SVHN, "split_list", files)


def write_celeba(folder: Path) -> np.ndarray:
    """Writes CelebA's zip and partition: 3 training, 1 validation, 2 test images, returned as `[6, 3, 218, 178]`."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(178)
    pixels = []
    with zipfile.ZipFile(folder / ARCHIVE, "w") as archive:
        archive.writestr(f"{IMAGE_FOLDER}/", b"")
        for number in range(1, 7):
            stream = io.BytesIO()
            blocks = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(blocks).resize((178, 218), Image.Resampling.NEAREST).save(stream, "JPEG", quality=95)
            archive.writestr(f"{IMAGE_FOLDER}/{number:06}.jpg", stream.getvalue())
            pixels.append(np.array(Image.open(stream)).transpose(2, 0, 1))
    codes = (0, 0, 1, 2, 0, 2)
    lines = [f"{number:06}.jpg {code}\n" for number, code in enumerate(codes, 1)]
    (folder / PARTITION).write_text("".join(lines))
    return np.stack(pixels)
