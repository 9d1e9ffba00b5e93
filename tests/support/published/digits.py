"""Small copies of the data sets of letters and digits: the MNIST family in the idx format, and USPS."""

from __future__ import annotations

import bz2
import gzip
import string
import struct
from pathlib import Path

import numpy as np

from support.published.pictures import Split, lines, many_quadrants, write_file, write_zip

SIDE = 28
PREFIXES = {"train": "train", "test": "t10k"}
DIGITS = list(string.digits)
CLOTHES = ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]
SYLLABLES = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]
# EMNIST: the characters of each part, in the order of its labels. The labels of `letters` begin at 1.
MERGED = string.digits + string.ascii_uppercase + "abdefghnqrt"
CHARACTERS = {
    "byclass": string.digits + string.ascii_uppercase + string.ascii_lowercase,
    "bymerge": MERGED,
    "balanced": MERGED,
    "letters": string.ascii_lowercase,
    "digits": string.digits,
    "mnist": string.digits,
}
COUNTS = {"train": 12, "test": 4}


def idx_bytes(array: np.ndarray) -> bytes:
    """Returns an array in the idx format: uint8, or other integers as big-endian int32."""
    kind, stored = (0x0800, array) if array.dtype == np.uint8 else (0x0C00, array.astype(">i4"))
    return struct.pack(f">I{array.ndim}I", kind + array.ndim, *array.shape) + stored.tobytes()


def write_digits(folder: Path, count: int = 30, *, compress: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Writes the training files of an MNIST. Returns the images `[N, 28, 28]` and the labels `[N]`."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, SIDE, SIDE), dtype=np.uint8)
    labels = random.integers(0, 10, count, dtype=np.uint8)
    for name, array in (("train-images-idx3-ubyte", images), ("train-labels-idx1-ubyte", labels)):
        content = idx_bytes(array)
        write_file(folder / (f"{name}.gz" if compress else name), gzip.compress(content) if compress else content)
    return images, labels


def write_family(folder: Path, classes: list[str]) -> dict[str, Split]:
    """Writes the four gzipped files of MNIST, Fashion-MNIST or KMNIST."""
    written, first = {}, 0
    for split, count in COUNTS.items():
        images = many_quadrants(first, count, SIDE, SIDE, 1)
        labels = (np.arange(count) * 7 % 10).astype(np.uint8)
        content = {"images-idx3": images[:, 0], "labels-idx1": labels}
        for name, array in content.items():
            write_file(folder / f"{PREFIXES[split]}-{name}-ubyte.gz", gzip.compress(idx_bytes(array)))
        written[split], first = Split(images, [classes[label] for label in labels]), first + count
    return written


def write_mnist(root: Path) -> dict[str, Split]:
    """Writes MNIST, as its mirrors and torchvision have it."""
    return write_family(root / "MNIST/raw", DIGITS)


def write_fashion_mnist(root: Path) -> dict[str, Split]:
    """Writes Fashion-MNIST."""
    return write_family(root / "FashionMNIST/raw", CLOTHES)


def write_kmnist(root: Path) -> dict[str, Split]:
    """Writes Kuzushiji-MNIST."""
    return write_family(root / "KMNIST/raw", SYLLABLES)


def write_emnist(root: Path) -> dict[str, Split]:
    """Writes EMNIST's zip of gzipped files. Returns the splits of all parts, with keys such as `letters/train`.

    In the files, images are transposed.
    """
    written, members, first = {}, {}, 0
    for part, characters in CHARACTERS.items():
        origin = 1 if part == "letters" else 0
        numbers = np.arange(len(characters))
        members[f"gzip/emnist-{part}-mapping.txt"] = lines(
            [
                f"{number + origin} {ord(characters[number].upper() if origin else characters[number])}"
                for number in numbers
            ]
        )
        for split, labels in (("train", numbers), ("test", numbers[::-3])):
            images = many_quadrants(first, len(labels), SIDE, SIDE, 1)
            files = {"images-idx3": images[:, 0].swapaxes(1, 2), "labels-idx1": (labels + origin).astype(np.uint8)}
            for name, array in files.items():
                members[f"gzip/emnist-{part}-{split}-{name}-ubyte.gz"] = gzip.compress(
                    idx_bytes(np.ascontiguousarray(array)), compresslevel=1
                )
            written[f"{part}/{split}"] = Split(images, [characters[label] for label in labels])
            first += len(labels)
    write_zip(root / "EMNIST/raw/gzip.zip", members)
    return written


def write_qmnist(root: Path) -> dict[str, Split]:
    """Writes QMNIST's gzipped files. A row of the labels has 8 numbers, of which the first is the digit."""
    written = {}
    for first, (split, count) in enumerate(COUNTS.items()):
        images = many_quadrants(100 * first, count, SIDE, SIDE, 1)
        rows = np.arange(count * 8).reshape(count, 8) + 300
        rows[:, 0] = np.arange(count) * 3 % 10
        for name, array in (("images-idx3-ubyte", images[:, 0]), ("labels-idx2-int", rows)):
            write_file(root / f"QMNIST/raw/qmnist-{split}-{name}.gz", gzip.compress(idx_bytes(array)))
        written[split] = Split(images, [DIGITS[digit] for digit in rows[:, 0]])
    return written


def write_usps(root: Path) -> dict[str, Split]:
    """Writes USPS: bzip2 of libsvm's text, a label from 1 to 10 and 256 numbers from -1 to 1 in a line."""
    written = {}
    for first, (split, name) in enumerate({"train": "usps.bz2", "test": "usps.t.bz2"}.items()):
        images = many_quadrants(100 * first, 12, 16, 16, 1)
        labels = np.arange(12) * 3 % 10
        rows = []
        for image, label in zip(images, labels, strict=True):
            values = image.reshape(-1) / 127.5 - 1
            rows.append(f"{label + 1} " + " ".join(f"{at}:{value:.6g}" for at, value in enumerate(values, 1)) + " ")
        write_file(root / name, bz2.compress(lines(rows)))
        written[split] = Split(images, [DIGITS[label] for label in labels])
    return written
