"""The data set `huggingface`: images that Hugging Face's library `datasets` reads; no code of a data set is run."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from gan_cli.config.options.datasets import CROP, MAX_PIXELS
from gan_cli.data.dataset import Dataset
from gan_cli.data.decoding.conversion import TargetFormat
from gan_cli.data.folder import cache_entry, check_bad, decode_layout
from gan_cli.data.image_store import cached_or_locked, find_cached
from gan_cli.data.selection import Selection
from gan_cli.errors import UsageError, first_few, one_line
from gan_cli.extras import require_extra
from gan_cli.image_files.formats import MOST_FILE_BYTES, BadImageError
from gan_cli.image_files.listing import ListedFile, Listing
from gan_cli.image_labels.attributes import natural_key
from gan_cli.image_labels.folder_classes import Layout
from gan_cli.storage.run_files import read_bytes

HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
NO_LABEL = "none"
VERSION = 3  # of which rows and files are read; cached images of another version are not used
OTHER_NAMES = {"test": ("validation", "valid", "val")}  # of splits, if the data have none of the first name


def build_huggingface(
    *,
    path: str,
    split: str,
    config: str | None,
    image_size: tuple[int, int],
    image_channels: int,
    background: str,
    selection: Selection,
    image: str | None = None,
    label: str | None = None,
    fit: str = CROP,
    cache: str = "none",
    on_bad: str = "error",
    max_pixels: int = MAX_PIXELS,
) -> Dataset:
    """Returns the selected images of a split, uint8 `[N, image_channels, H, W]`, with labels of the column `label`.

    Decoded images are cached in the folder `cache`, unless it is `none`. Raises UsageError if the data cannot be read,
    have no such split or column, or if an image cannot be used.
    """
    require_extra("datasets", "dataset=huggingface")
    target = TargetFormat(image_size, image_channels, background, fit, profiles="convert", max_pixels=max_pixels)
    local = os.path.expanduser(path)
    settings = (f"huggingface {VERSION}", config, image, label, target, max_pixels, on_bad, split, selection)
    # Data on the hub have no state that could be compared without asking for it, so they are not looked up first.
    entry = cache_entry(cache, [local], (), *settings) if os.path.exists(local) else None
    if (cached := find_cached(entry)) is not None:
        return cached
    table = _open_split(path, split, config)
    if entry is None:
        entry = cache_entry(cache, [], (), path, table.fingerprint, *settings)
    elif os.path.isfile(local):  # the images may be files beside it, which change without it
        entry = cache_entry(cache, [local], map(str, table.named_files(image)), *settings)
    with cached_or_locked(entry) as cached:
        if cached is not None:
            return cached
        reader, layout = table.read_layout(image, label)
        return decode_layout(reader, layout, entry, target, selection, partial(check_bad, on_bad, table.shown))


@dataclass
class _Rows:
    """Reads the encoded images of a column: their bytes, or the files in one of the `folders` that the rows name.

    Names are relative to the first of the `folders`.
    """

    rows: Any  # a data set of the library, whose images are not decoded
    column: str
    shown: str
    folders: tuple[Path, ...]
    listing: Listing = field(init=False)

    def __post_init__(self) -> None:
        self.listing = Listing(self.shown)

    def read_image(self, file: ListedFile) -> bytes:
        value = self.rows[file.location][self.column]
        if isinstance(value, str):
            value = {"bytes": None, "path": value}
        content = value.get("bytes") if isinstance(value, dict) else value
        if content is None and isinstance(value, dict) and value.get("path"):
            return self._read_file(str(value["path"]))
        if content is None:
            raise BadImageError("missing")
        if not isinstance(content, bytes):
            raise BadImageError("not an encoded image")
        if len(content) > MOST_FILE_BYTES:
            raise BadImageError(f"larger than {MOST_FILE_BYTES >> 20} MiB")
        return content

    def _read_file(self, name: str) -> bytes:
        """Returns the content of a file. Rows may be a stranger's, so none that lies elsewhere is read."""
        try:
            if (path := _find_file(name, self.folders)) is None:
                raise BadImageError(
                    "names a file in place of its bytes, which is not in the folder of the data; save_to_disk of the"
                    " library writes the bytes"
                )
            return read_bytes(path, MOST_FILE_BYTES)
        except (OSError, ValueError) as error:
            reason = one_line(getattr(error, "strerror", None) or error, 80)
            where = one_line(os.path.join(self.folders[0], name), 120)
            raise BadImageError(f"names a file that cannot be read: {where}: {reason}") from None


def _find_file(name: str, folders: Sequence[Path]) -> Path | None:
    """Returns the path of a file that a row names, without links, or None if it is in none of the folders."""
    path = Path(os.path.realpath(folders[0] / name))
    return path if any(path.is_relative_to(os.path.realpath(folder)) for folder in folders) else None


class _Files(Sequence[ListedFile]):
    """The rows, which may be millions, as files: the entries of the list are built when they are needed."""

    def __init__(self, split: str, count: int) -> None:
        self._split, self._count = split, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        return ListedFile((self._split, f"row {index}"), index)


@dataclass(frozen=True)
class _Split:
    """A split, its name, and the path for messages."""

    data: Any
    name: str
    shown: str
    folders: tuple[Path, ...]  # that may hold the files of images

    @property
    def fingerprint(self) -> str:
        """A text that the library derives from where the data are from and how they were made."""
        return str(self.data._fingerprint)

    def named_files(self, image: str | None) -> list[Path]:
        """Returns the image files that rows name in place of their bytes: those that are in the folders."""
        import pyarrow
        from pyarrow import compute

        names = self.data.data.column(self._image_column(image))
        if pyarrow.types.is_struct(names.type) and {"bytes", "path"} <= {field.name for field in names.type}:
            without_bytes = compute.struct_field(names, "bytes").is_null()
            names = compute.struct_field(names, "path").filter(without_bytes)
        elif not (pyarrow.types.is_string(names.type) or pyarrow.types.is_large_string(names.type)):
            return []
        found = []
        for name in filter(None, names.to_pylist()):
            with contextlib.suppress(OSError, ValueError):  # one that no file can have
                found.append(_find_file(str(name), self.folders))
        return [path for path in found if path is not None and path.is_file()]

    def read_layout(self, image: str | None, label: str | None) -> tuple[_Rows, Layout]:
        """Returns the reader of the images, and the list of them with their classes. Raises UsageError."""
        from datasets import Image

        features = self.data.features
        column = self._image_column(image)
        rows = self.data
        if isinstance(features[column], Image):
            rows = rows.cast_column(column, Image(decode=False))
        labels, classes = self._labels(label, column)
        files: Any = _Files(self.name, len(rows))
        return _Rows(rows.select_columns([column]), column, self.shown, self.folders), Layout(files, labels, classes)

    def _image_column(self, name: str | None) -> str:
        features = self.data.features
        if name is not None:
            return self._known("image", name)
        found = [key for key, kind in features.items() if type(kind).__name__ == "Image"]
        found = found or [key for key, kind in features.items() if _is_encoded(kind)]
        if len(found) != 1:
            why = f"has {len(found)} columns of images" if found else "has no column of images"
            columns = first_few([one_line(key, 40) for key in found or features], 10)
            raise UsageError(f"dataset.path={self.shown}: {why}; choose by dataset.image=..., of {columns}")
        return found[0]

    def _known(self, key: str, name: str) -> str:
        if name not in self.data.features:
            columns = first_few([one_line(each, 40) for each in self.data.features], 10)
            raise UsageError(f"dataset.{key}={one_line(name, 60)}: no column of {self.shown}, which has {columns}")
        return name

    def _labels(self, name: str | None, image: str) -> tuple[list[int] | None, tuple[str, ...]]:
        """Returns the class number of each row, -1 if unknown, and the names of the classes."""
        features = self.data.features
        if name is None:
            found = [key for key, kind in features.items() if type(kind).__name__ == "ClassLabel"]
            name = found[0] if len(found) == 1 else NO_LABEL
        if name == NO_LABEL:
            return None, ()
        values = self.data.select_columns([self._known("label", name)])[:][name]
        kind = features[name]
        if type(kind).__name__ == "ClassLabel":
            return [-1 if value is None else int(value) for value in values], tuple(map(str, kind.names))
        if name == image or not all(isinstance(value, str | int | None) for value in values):
            raise UsageError(f"dataset.label={one_line(name, 60)}: expected a column of names or whole numbers")
        texts = [None if value is None else str(value) for value in values]
        classes = tuple(sorted({text for text in texts if text is not None}, key=natural_key))
        numbers = {text: number for number, text in enumerate(classes)}
        return [-1 if text is None else numbers[text] for text in texts], classes


def _is_encoded(kind: Any) -> bool:
    """Returns whether a column holds bytes, or pairs of bytes and path as the library writes images to parquet."""
    if isinstance(kind, dict):
        return set(kind) == {"bytes", "path"}
    return getattr(kind, "dtype", "") in ("binary", "large_binary")


def _open_split(path: str, split: str, config: str | None) -> _Split:
    """Opens a split. Raises UsageError if there is none, or if the path is neither local nor a name on the hub."""
    local, shown = os.path.expanduser(path), one_line(path)
    if not os.path.exists(local) and (HUB_NAME.fullmatch(path) is None or path.startswith(".")):
        raise UsageError(
            f"dataset.path={shown}: not found; expected a folder that save_to_disk wrote, parquet files, or a name on"
            " the hub, as owner/name"
        )
    import datasets

    quiet = datasets.utils.logging
    datasets.disable_progress_bars()
    quiet.set_verbosity_error()
    try:
        found = _open_local(datasets, local) if os.path.exists(local) else _open_hub(datasets, path, config)
    except UsageError:
        raise
    except Exception as error:  # the library raises errors of many kinds
        where = "cannot be read" if os.path.exists(local) else "cannot be had from the hub, and there is no such folder"
        raise UsageError(f"dataset.path={shown}: {where} ({type(error).__name__}: {one_line(error, 200)})") from error
    folders = (_folder_of(local),) if os.path.exists(local) else _downloads(datasets, path)
    if isinstance(found, datasets.Dataset):
        if split != "train":
            raise UsageError(f"dataset.split={one_line(split, 40)}: {shown} is not divided into splits")
        return _Split(found, split, shown, folders)
    name = next((each for each in (split, *OTHER_NAMES.get(split, ())) if each in found), None)
    if name is None:
        raise UsageError(f"dataset.split={one_line(split, 40)}: {shown} has {first_few([*map(str, found)], 10)}")
    return _Split(found[name], name, shown, folders)


def _folder_of(path: str) -> Path:
    """Returns the folder that holds the files which local data name: a folder itself, or that of a parquet file."""
    return Path(path) if os.path.isdir(path) else Path(path).parent


def _downloads(datasets: Any, name: str) -> tuple[Path, ...]:
    """Returns the folders into which the library downloads the files of a data set of the hub, and unpacks them."""
    from huggingface_hub import constants

    of_hub = Path(constants.HF_HUB_CACHE) / f"datasets--{name.replace('/', '--')}"
    return of_hub, Path(datasets.config.DOWNLOADED_DATASETS_PATH)


def _open_local(datasets: Any, path: str) -> Any:
    """Opens a folder that save_to_disk wrote, or parquet files, whose names or folders may say the split."""
    folder = Path(path)
    if any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return datasets.load_from_disk(path)
    files = sorted(folder.rglob("*.parquet")) if folder.is_dir() else [folder] if folder.suffix == ".parquet" else []
    if not files:
        raise UsageError(
            f"dataset.path={one_line(path)}: holds no data of save_to_disk and no .parquet; images as files are read by"
            " dataset=folder, shards by dataset=webdataset"
        )
    splits: dict[str, list[str]] = {}
    for file in files:
        names = reversed(file.relative_to(folder).parts) if folder.is_dir() else ()
        known = next(
            filter(None, (re.match(r"(train|test|validation|valid|val)(?![a-z])", each) for each in names)), None
        )
        splits.setdefault(known[1] if known else "train", []).append(str(file))
    return {name: datasets.Dataset.from_parquet(names) for name, names in splits.items()}


def _open_hub(datasets: Any, name: str, config: str | None) -> Any:
    """Downloads a data set from the hub into the library's own cache.

    Without a connection, the library tries for half a minute; its log, one line for each try, is not shown.
    """
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()
    return datasets.load_dataset(name, config)
