"""Finds, downloads, extracts and reads the data sets of the table in `torchvision_sets`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets.downloaded_archives import (
    PublishedFile,
    damaged_file_error,
    download_missing,
    fit_images,
    root_folder,
    source_text,
    torchvision_class,
)
from gan_cli.data.datasets.published_images import PublishedImages
from gan_cli.data.datasets.torchvision_sets import TABLE, Found, TorchvisionSet
from gan_cli.data.selection import Selection
from gan_cli.errors import StorageError, UsageError, one_line
from gan_cli.extras import require_extra
from gan_cli.image_files.listing import ListedFile
from gan_cli.image_labels.folder_classes import Layout
from gan_cli.storage.download import ArchiveError, extract_folder, file_md5


def load_torchvision_set(
    name: str,
    *,
    root: str,
    download: bool,
    split: str,
    image_size: tuple[int, int],
    selection: Selection,
    cache: str = "none",
    **settings: Any,
) -> Dataset:
    """Returns the selected images of a split of the data set `name`, of `image_size`, (height, width), with labels."""
    published, settings = TABLE[name], {**settings, "split": split}
    if split not in published.splits:
        raise UsageError(f"dataset.split={split}: {published.title} has no such split")
    if published.extra:
        require_extra(published.extra, f"dataset={name}")
    reader = torchvision_class(published.reader)
    if published.needs_archive:
        reader = type(published.reader, (reader,), {"_check_integrity": lambda self: True})
    files = published.files(reader, settings)
    folder = root_folder(root) / published.folder
    downloaded = ensure_files(published.title, files, folder, root, allowed=download)
    found = _read(published, reader, files, root, settings)
    if isinstance(found.images, np.ndarray):
        origin = "downloaded" if downloaded else f"from {folder / files[0].name}"
        return _array_dataset(published.title, split, found, image_size, origin)
    listed = [ListedFile(Path(os.path.relpath(path, folder)).parts, str(path)) for path in found.images]
    outside = next((file for file in listed if file.parts[0] == ".."), None)
    if outside is not None:  # a list of files that someone else wrote decides what is read
        raise UsageError(f"dataset.root={root}: {published.title} lists a file outside of {folder}: {outside.location}")
    layout = Layout(listed, list(found.labels), tuple(found.classes))
    images = PublishedImages(published.title, split, folder, published.cut_bottom)
    paths = [str(folder / (file.makes or file.name)) for file in files]
    return images.load(lambda: layout, image_size, selection, cache, paths, name, root, sorted(settings.items()))


def ensure_files(title: str, files: Sequence[PublishedFile], folder: Path, root: str, *, allowed: bool) -> bool:
    """Downloads and extracts what is missing in `folder`. Returns whether anything was downloaded.

    Raises UsageError if this is not `allowed` or fails, or if an archive is damaged; StorageError if writing fails.
    """
    needed = [file for file in files if not (folder / (file.makes or file.name)).exists()]
    missing = [file for file in needed if not (folder / file.name).is_file()]
    if missing:
        download_missing(title, missing, folder, root, allowed=allowed)
    for file in filter(lambda file: file.makes, needed):
        path = folder / file.name
        print(f"{title}: extracting {path}", flush=True)
        try:
            extract_folder(path, file.md5, file.makes)
        except ArchiveError as error:
            raise damaged_file_error(path, one_line(error, 200)) from error
        except OSError as error:
            raise StorageError(f"{path}: cannot be extracted beside it ({error.strerror or error})") from error
    return bool(missing)


def _read(
    published: TorchvisionSet, reader: Any, files: Sequence[PublishedFile], root: str, settings: Mapping[str, Any]
) -> Found:
    """Returns what torchvision finds. Raises UsageError if the files are damaged or incomplete."""
    parts = published.splits[settings["split"]]
    arguments = {argument: settings[key] for key, argument in published.arguments.items()}
    found = []
    try:
        for part in parts if isinstance(parts, list) else [parts]:
            given = {} if part == "" else {published.split_argument: part}
            read = reader(os.path.expanduser(root), download=False, **given, **arguments)
            found.append(published.found(read, settings))
    except Exception as error:  # a parser may raise nearly anything on damaged files
        folder = root_folder(root) / published.folder
        for file in files:
            if not file.makes and (md5 := file_md5(folder / file.name)) != file.md5:
                raise damaged_file_error(folder / file.name, f"has md5 {md5}, expected {file.md5}") from error
        why = ""  # most texts are about the parser, not about the files
        if isinstance(error, OSError) and error.filename:
            why = f" ({one_line(f'{error.filename}: {error.strerror}', 300)})"
        remedy = f"delete {' and '.join(file.makes or file.name for file in files)} in {folder} and get them again"
        raise UsageError(f"dataset.root={root}: {published.title} is damaged or incomplete{why}; {remedy}") from error
    if len(found) == 1:
        return found[0]
    images, labels, classes = zip(*found, strict=True)
    return Found([*chain(*images)], [*chain(*labels)], classes[0])


def _array_dataset(title: str, split: str, found: Found, size: tuple[int, int], origin: str) -> Dataset:
    """Returns the data set of an array of images, which are cropped and resized to `size`."""
    images, count = found.images, len(found.images)
    images = images[:, None] if images.ndim == 3 else images
    return Dataset(
        samples=fit_images([images], count, size, images.shape[1]),
        labels=torch.from_numpy(np.asarray(found.labels, dtype=np.int64)),
        classes=tuple(found.classes),
        source=source_text(title, split, count, origin),
    )
