"""Small copies of the data sets whose archives hold arrays: CIFAR, STL-10 and SVHN."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gan_cli.data.datasets.cifar import CIFAR100
from support.published.pictures import Split, lines, many_quadrants, write_tar

CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
SOME_OF_CIFAR100 = {0: "apple", 99: "worm", 53: "orange", 8: "bicycle", 58: "pickup_truck", 30: "dolphin"}
STL10 = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]


def cifar_records(images: np.ndarray, *labels: np.ndarray) -> bytes:
    """Returns a file of CIFAR's binary version: for each image its label bytes, then its three planes."""
    columns = [label.astype(np.uint8)[:, None] for label in labels]
    return np.concatenate([*columns, images.reshape(len(images), -1)], axis=1).tobytes()


def write_cifar10(root: Path, per_file: int = 20) -> dict[str, Split]:
    """Writes CIFAR-10's archive of the binary version, `per_file` images in each file, in the published order."""
    images = many_quadrants(0, 6 * per_file)
    labels = np.arange(6 * per_file) * 7 % 10
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    files = {"batches.meta.txt": lines([*CIFAR10, ""]), "readme.html": b"<html></html>"}
    for index, name in enumerate(names):
        part = slice(index * per_file, (index + 1) * per_file)
        files[name] = cifar_records(images[part], labels[part])
    order = ("data_batch_1.bin", "batches.meta.txt", "data_batch_3.bin", "data_batch_4.bin", "test_batch.bin",
             "readme.html", "data_batch_5.bin", "data_batch_2.bin")  # fmt: skip
    write_tar(root / "cifar-10-binary.tar.gz", {f"cifar-10-batches-bin/{name}": files[name] for name in order})
    test, classes = 5 * per_file, [CIFAR10[label] for label in labels]
    return {"train": Split(images[:test], classes[:test]), "test": Split(images[test:], classes[test:])}


def write_cifar100(root: Path) -> dict[str, Split]:
    """Writes CIFAR-100's archive of the binary version. A record begins with the superclass, then the class."""
    files, written = {}, {}
    for split, count in (("train", 24), ("test", 6)):
        images = many_quadrants(len(files) * 100, count)
        labels = np.resize(list(SOME_OF_CIFAR100), count)
        files[f"cifar-100-binary/{split}.bin"] = cifar_records(images, labels % 20, labels)
        written[split] = Split(images, [SOME_OF_CIFAR100[label] for label in labels])
    files["cifar-100-binary/fine_label_names.txt"] = lines([*CIFAR100.classes, ""])
    files["cifar-100-binary/coarse_label_names.txt"] = lines([*(f"superclass {number}" for number in range(20)), ""])
    write_tar(root / "cifar-100-binary.tar.gz", files)
    return written


def write_stl10(root: Path) -> dict[str, Split]:
    """Writes STL-10's archive. Each plane is stored column by column, and labels count from 1."""
    files, written = {}, {}
    for first, (split, labels) in enumerate({"test": [0, 9], "train": [9, 0, 4], "unlabeled": None}.items()):
        images = many_quadrants(100 * first, 4 if labels is None else len(labels), 96, 96)
        files[f"stl10_binary/{split}_X.bin"] = images.swapaxes(2, 3).tobytes()
        if labels is not None:
            files[f"stl10_binary/{split}_y.bin"] = bytes(label + 1 for label in labels)
        written[split] = Split(images, labels and [STL10[label] for label in labels])
    files["stl10_binary/class_names.txt"] = lines(STL10)
    files["stl10_binary/fold_indices.txt"] = lines(["0 1 2 "] * 10)
    write_tar(root / "stl10_binary.tar.gz", files)
    return written


def write_svhn(root: Path) -> dict[str, Split]:
    """Writes the three files of SVHN. The label of the digit 0 is 10."""
    from scipy.io import savemat  # takes long to import

    root.mkdir(parents=True, exist_ok=True)
    written = {}
    for first, (split, count) in enumerate({"train": 12, "test": 5, "extra": 6}.items()):
        images = many_quadrants(100 * first, count)
        digits = np.arange(count) % 10
        labels = np.where(digits == 0, 10, digits).astype(np.uint8)[:, None]
        savemat(root / f"{split}_32x32.mat", {"X": images.transpose(2, 3, 1, 0), "y": labels}, do_compression=True)
        written[split] = Split(images, [str(digit) for digit in digits])
    return written
