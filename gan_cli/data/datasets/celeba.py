"""CelebA: 202,599 images of faces, cropped and aligned to 178x218 pixels. Read from its zip or the extracted folder."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from gan_cli.config.options.published_datasets import PUBLISHED
from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets.downloaded_archives import (
    PublishedFile,
    damaged_file_error,
    download_missing,
    root_folder,
    source_text,
    torchvision_class,
)
from gan_cli.data.datasets.published_images import PublishedImages
from gan_cli.data.selection import Selection
from gan_cli.errors import UsageError, one_line
from gan_cli.image_files.folder_reader import read_image_file
from gan_cli.image_files.listing import ListedFile
from gan_cli.image_files.zip_reader import open_zip
from gan_cli.image_labels.folder_classes import Layout
from gan_cli.storage.archive_errors import reading

IMAGE_FOLDER, PARTITION = "img_align_celeba", "list_eval_partition.txt"
ARCHIVE = f"{IMAGE_FOLDER}.zip"
CODES = {"train": "0", "valid": "1", "test": "2"}  # number of each split in the partition file
NAME = re.compile(r"\w+\.jpg", re.ASCII)
MOST_PARTITION_BYTES = 1 << 24


def build_celeba(
    *, root: str, download: bool, split: str, image_size: tuple[int, int], selection: Selection, cache: str = "none"
) -> Dataset:
    """Returns the selected images of a split of CelebA in `root/celeba`, of `image_size`, without labels."""
    folder = root_folder(root) / "celeba"
    downloaded = _ensure(folder, root, split, allowed=download)
    path = folder / (IMAGE_FOLDER if _has_images(folder / IMAGE_FOLDER) else ARCHIVE)
    partition = [] if split == "all" else [folder / PARTITION]
    with _opened(path) as (faces, read):
        names = [*faces] if split == "all" else _names_of(folder / PARTITION, split)
        files = [faces.get(name, ListedFile((name,), None, "missing")) for name in names]
        paths = [*map(str, (path, *partition))]
        height, width = PUBLISHED["celeba"]["size"]
        images = PublishedImages("CelebA", split, path, native=(width, height), read=read)
        images.most_unusable = 0.0
        dataset = images.load(lambda: Layout(files), image_size, selection, cache, paths, "celeba", root, split)
    text = source_text("CelebA", split, len(names), "downloaded" if downloaded else f"from {path}")
    if len(dataset) < len(names):
        text += f"; {len(dataset):,} of {len(names):,} kept"
    return dataclasses.replace(dataset, source=text, changes={})


def _ensure(folder: Path, root: str, split: str, *, allowed: bool) -> bool:
    """Downloads what is missing in `folder`. Returns whether a file was missing. torchvision has the ids and md5."""
    needed = {ARCHIVE: not _has_images(folder / IMAGE_FOLDER), PARTITION: split != "all"}
    missing = [name for name, is_needed in needed.items() if is_needed and not (folder / name).is_file()]
    if missing:
        published = torchvision_class("CelebA").file_list
        known = {name: PublishedFile(name=name, md5=md5, drive_id=file_id) for file_id, md5, name in published}
        download_missing("CelebA", [known[name] for name in missing], folder, root, allowed=allowed)
    return bool(missing)


def _has_images(folder: Path) -> bool:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return any(NAME.fullmatch(entry.name) for entry in entries)
    return False


def _names_of(path: Path, split: str) -> list[str]:
    """Returns the image names of a split. Each line of the partition file has an image and the number of its split."""
    try:
        with reading(path), open(path, encoding="ascii") as stream:
            lines = stream.read(MOST_PARTITION_BYTES).splitlines()
    except UnicodeDecodeError as error:
        raise damaged_file_error(path, "is not a text") from error
    names = []
    for number, line in enumerate(lines, 1):
        name, _, code = line.strip().partition(" ")
        if not NAME.fullmatch(name) or code.strip() not in CODES.values():
            raise damaged_file_error(path, f"line {number} is {one_line(line, 40)!r}, expected one as '000001.jpg 0'")
        if code.strip() == CODES[split]:
            names.append(name)
    if not names:
        raise damaged_file_error(path, f"names no images of the split {split}")
    return names


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[dict[str, ListedFile], Callable[[ListedFile], bytes]]]:
    """Yields the files of the folder of extracted images, or of the zip, by name, and the function that reads one."""
    if path.name == IMAGE_FOLDER:
        names = sorted(name for name in os.listdir(path) if NAME.fullmatch(name))
        files = {name: ListedFile((name,), str(path / name)) for name in names}
        yield files, lambda file: read_image_file(file.location)
        return
    with contextlib.ExitStack() as stack:
        try:
            zipped = stack.enter_context(open_zip(str(path), str(path)))
        except UsageError as error:
            raise damaged_file_error(path, "damaged archive") from error
        inside = sorted(zipped.listing.files, key=lambda file: file.location.filename)
        named = [(file.location.filename.removeprefix(f"{IMAGE_FOLDER}/"), file) for file in inside]
        files = {name: file for name, file in named if name != file.location.filename and NAME.fullmatch(name)}
        if not files:
            raise damaged_file_error(path, f"has no images in {IMAGE_FOLDER}/")
        yield files, zipped.read
