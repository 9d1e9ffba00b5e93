"""CelebA: 202,599 images of faces, cropped and aligned to 178x218 pixels. Read from its zip or the extracted folder."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets.downloaded_archives import (
    damaged_file_error,
    missing_data_error,
    root_folder,
    source_text,
)
from gan_cli.data.datasets.torchvision_reader import BACKGROUND, PublishedImages
from gan_cli.data.decoding.conversion import TargetFormat
from gan_cli.data.decoding.resize import crop_box
from gan_cli.data.folder import cache_entry, decode_layout
from gan_cli.data.image_store import find_cached
from gan_cli.data.selection import Selection
from gan_cli.errors import StorageError, UsageError, one_line
from gan_cli.image_files.listing import BadImageError, ListedFile
from gan_cli.image_files.zip_reader import open_zip
from gan_cli.image_labels.folder_classes import Layout
from gan_cli.storage.download import TIMEOUT, create_folder_or_undo
from gan_cli.storage.extract import file_md5

WIDTH, HEIGHT = 178, 218
IMAGE_FOLDER, PARTITION = "img_align_celeba", "list_eval_partition.txt"
ARCHIVE = f"{IMAGE_FOLDER}.zip"
CODES = {"train": "0", "valid": "1", "test": "2"}  # number of each split in the partition file
NAME = re.compile(r"\w+\.jpg", re.ASCII)
MOST_PARTITION_BYTES = 1 << 24


class FaceFiles(NamedTuple):
    """The images by their names, in order, and the function that reads the bytes of one."""

    files: dict[str, ListedFile]
    read: Callable[[ListedFile], Any]


def build_celeba(
    *,
    root: str,
    download: bool,
    split: str,
    image_size: tuple[int, int],
    selection: Selection,
    cache: str = "none",
) -> Dataset:
    """Returns the selected images of a split of CelebA, without labels.

    Reads the images in `root/celeba`, and downloads missing files if `download` is True. The centre of each image is
    cropped to the proportions of `image_size`, (height, width), and resized to this size. The result is cached in the
    folder `cache`, unless it is `none`.
    """
    folder = root_folder(root) / "celeba"
    downloaded = _ensure(folder, root, split, allowed=download)
    path = folder / (IMAGE_FOLDER if _has_images(folder / IMAGE_FOLDER) else ARCHIVE)
    target = TargetFormat(image_size, channels=3, background=BACKGROUND)
    partition = [] if split == "all" else [str(folder / PARTITION)]
    entry = cache_entry(cache, [str(path)], partition, "celeba", root, split, target, selection)
    with _opened(path) as faces:
        names = [*faces.files] if split == "all" else _names_of(folder / PARTITION, split)
        dataset = None if entry is None else find_cached(entry)
        if dataset is None:
            files = [faces.files.get(name, ListedFile((name,), None, "missing")) for name in names]
            source = _Faces(split, path, faces.read, image_size)
            layout = Layout(files, None, (), (), mixed=False)
            dataset = decode_layout(source, layout, entry, target, selection, source.check, "dataset.root")
    text = source_text("CelebA", split, len(names), "downloaded" if downloaded else f"from {path}")
    if len(dataset) < len(names):
        text += f"; {len(dataset):,} of {len(names):,} kept"
    return dataclasses.replace(dataset, source=text, changes={})


# --- files -------------------------------------------------------------------------------------------------------


def _ensure(folder: Path, root: str, split: str, *, allowed: bool) -> bool:
    """Downloads the files that are missing in `folder`. Returns whether a file was missing.

    Raises UsageError if files are missing and are not `allowed` to be downloaded, or if a download fails.
    """
    missing = []
    if not _has_images(folder / IMAGE_FOLDER) and not os.path.isfile(folder / ARCHIVE):
        missing.append(ARCHIVE)
    if split != "all" and not os.path.isfile(folder / PARTITION):
        missing.append(PARTITION)
    if not missing:
        return False
    if not allowed:
        raise missing_data_error("CelebA", root, "dataset.download=false", missing, folder)
    try:
        import gdown
    except ImportError:
        why = "its download needs gdown (pip install 'gan-cli[celeba]')"
        raise missing_data_error("CelebA", root, why, missing, folder) from None
    print(f"CelebA: downloading to {folder}", flush=True)
    for index, name in enumerate(missing):
        try:
            _fetch(gdown.download, name, folder)
        except Exception as error:  # gdown raises errors of many kinds
            why = f"{name} cannot be downloaded ({one_line(error, 200)})"
            raise missing_data_error("CelebA", root, why, missing[index:], folder) from error
    return True


def _fetch(download: Callable[..., Any], name: str, folder: Path) -> None:
    """Downloads the file `name`, whose id and md5 torchvision has, into `folder`. Leaves no partial file.

    Raises ValueError if the md5 of the file is wrong.
    """
    published = importlib.import_module("torchvision.datasets").CelebA.file_list
    file_id, md5 = next((file_id, md5) for file_id, md5, known in published if known == name)
    with create_folder_or_undo(folder), tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as part:
        path = Path(part) / name
        download(id=file_id, output=str(path), quiet=not sys.stdout.isatty(), timeout=TIMEOUT)
        if (found := file_md5(path)) != md5:
            raise ValueError(f"the file has md5 {found}, expected {md5}")
        os.replace(path, folder / name)


def _has_images(folder: Path) -> bool:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return any(NAME.fullmatch(entry.name) for entry in entries)
    return False


def _names_of(path: Path, split: str) -> list[str]:
    """Returns the image names of a split, read from the partition file.

    Each line of this file holds the name of an image and the number of its split.
    """
    try:
        with open(path, encoding="ascii") as stream:
            lines = stream.read(MOST_PARTITION_BYTES).splitlines()
    except UnicodeDecodeError as error:
        raise damaged_file_error(path, "is not a text") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror or error})") from error
    names = []
    for number, line in enumerate(lines, 1):
        name, _, code = line.strip().partition(" ")
        if not NAME.fullmatch(name) or code.strip() not in CODES.values():
            raise damaged_file_error(path, f"line {number} is {one_line(line, 40)!r}, expected one as '000001.jpg 0'")
        if code.strip() == CODES[split]:
            names.append(name)
    if not names:
        raise damaged_file_error(path, f"names no pictures of the split {split}")
    return names


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[FaceFiles]:
    """Opens the folder of extracted images, or the zip.

    Raises UsageError if the zip is damaged or holds no images, and StorageError if it cannot be read.
    """
    if path.name == IMAGE_FOLDER:
        names = sorted(name for name in os.listdir(path) if NAME.fullmatch(name))
        reader = PublishedImages("CelebA", "train", path)
        yield FaceFiles({name: ListedFile((name,), str(path / name)) for name in names}, reader.read_image)
        return
    with contextlib.ExitStack() as stack:
        try:
            zipped = stack.enter_context(open_zip(str(path), str(path)))
        except UsageError as error:
            raise damaged_file_error(path, "damaged archive") from error
        within = f"{IMAGE_FOLDER}/"
        inside = {file.location.filename: file for file in zipped.listing.files}
        files = {
            name.removeprefix(within): inside[name]
            for name in sorted(inside)
            if name.startswith(within) and NAME.fullmatch(name.removeprefix(within))
        }
        if not files:
            raise damaged_file_error(path, f"has no pictures in {within}")
        yield FaceFiles(files, zipped.read)


# --- images ------------------------------------------------------------------------------------------------------


class _Faces(PublishedImages):
    """Reads, crops and resizes faces. A damaged or missing image is an error."""

    most_unusable = 0.0

    def __init__(self, split: str, path: Path, read: Callable[[ListedFile], bytes], size: tuple[int, int]) -> None:
        super().__init__("CelebA", split, path)
        self._read, self._size = read, size

    def read_image(self, file: ListedFile) -> np.ndarray:
        """Returns one image as uint8 `[H, W, 3]`.

        Raises BadImageError if it cannot be decoded, or has another size than the images of CelebA.
        """
        content = self._read(file)
        top, left, height, width = crop_box(HEIGHT, WIDTH, self._size)
        try:
            with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
                if image.size == (WIDTH, HEIGHT):
                    box = (left, top, left + width, top + height)
                    return np.array(image.convert("RGB").resize(self._size[::-1], Image.Resampling.LANCZOS, box))
                found = f"is {image.width}x{image.height}, CelebA's are {WIDTH}x{HEIGHT}"
        except Exception as error:  # a decoder may raise nearly anything on damaged bytes
            raise BadImageError(f"cannot be decoded ({one_line(error, 100)})") from error
        raise BadImageError(f"{found}; for pictures of your own use dataset=folder")
