"""LSUN: photographs of scenes, read from the published lmdb databases. torchvision would pickle their lists of keys."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets.downloaded_archives import damaged_file_error, missing_data_error, root_folder
from gan_cli.data.datasets.torchvision_reader import BACKGROUND, PublishedImages
from gan_cli.data.decoding.conversion import TargetFormat
from gan_cli.data.folder import cache_entry, decode_layout
from gan_cli.data.image_store import find_cached
from gan_cli.data.selection import Selection
from gan_cli.errors import UsageError, did_you_mean, one_line
from gan_cli.extras import require_extra
from gan_cli.image_files.listing import BadImageError, ListedFile
from gan_cli.image_labels.folder_classes import Layout

SCENES = (
    "bedroom", "bridge", "church_outdoor", "classroom", "conference_room", "dining_room", "kitchen", "living_room",
    "restaurant", "tower",
)  # fmt: skip
SPLITS = {"train": "train", "test": "val"}


def load_lsun(
    *,
    root: str,
    download: bool,
    split: str,
    image_size: tuple[int, int],
    selection: Selection,
    cache: str = "none",
) -> Dataset:
    """Returns the selected images of a split of LSUN, whose classes are the scenes `selection.classes`.

    Each scene is a database such as `bedroom_train_lmdb` in `root`. Without classes, all scenes in `root` are read.
    Raises UsageError if a database is missing, is damaged or is no scene of LSUN.
    """
    require_extra("lsun", "dataset=lsun")
    folder = root_folder(root)
    names = {scene: f"{scene}_{SPLITS[split]}_lmdb" for scene in SCENES}
    scenes = selection.classes or tuple(scene for scene in SCENES if (folder / names[scene]).is_dir())
    for scene in scenes:
        if scene not in names:
            raise UsageError(
                f"dataset.classes=[{','.join(scenes)}]: {one_line(scene, 50)!r} is no scene of LSUN, expected"
                f" {', '.join(SCENES)}{did_you_mean(scene, SCENES)}"
            )
    missing = [names[scene] for scene in scenes or SCENES[:1] if not (folder / names[scene]).is_dir()]
    if missing:
        raise missing_data_error("LSUN", root, "is not downloaded by gan-cli", missing, folder)
    target = TargetFormat(image_size, channels=3, background=BACKGROUND)
    paths = [str(folder / names[scene]) for scene in scenes]
    entry = cache_entry(cache, paths, (), "lsun", root, scenes, target, selection)
    cached = None if entry is None else find_cached(entry)
    if cached is not None:
        return cached
    with contextlib.ExitStack() as stack:
        databases = {scene: stack.enter_context(_opened(path)) for scene, path in zip(scenes, paths, strict=True)}
        source = _LsunImages(databases, split, root)
        layout = Layout(source.files, source.labels, tuple(scenes), (), mixed=False)
        return decode_layout(source, layout, entry, target, selection, source.check, "dataset.root")


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Any]:
    """Opens a database for reading. Writes no lock file, so that a read-only folder suffices."""
    import lmdb

    try:
        with lmdb.open(path, readonly=True, lock=False, readahead=False, max_readers=1) as database:
            yield database
    except lmdb.Error as error:
        raise damaged_file_error(path, f"is no lmdb database ({one_line(error, 100)})") from error


class _LsunImages(PublishedImages):
    """Reads the encoded images in databases, one for each scene."""

    def __init__(self, databases: dict[str, Any], split: str, root: str) -> None:
        super().__init__("LSUN", split, root_folder(root))
        self.files: list[ListedFile] = []
        self.labels: list[int] = []
        for label, (scene, database) in enumerate(databases.items()):
            keys = _keys(database)
            self.files += [ListedFile((scene, key.decode("ascii", "replace")), (database, key)) for key in keys]
            self.labels += [label] * len(keys)

    def read_image(self, file: ListedFile) -> bytes:
        database, key = file.location
        with database.begin() as transaction:
            content = transaction.get(key)
        if content is None:
            raise BadImageError("gone")
        return bytes(content)


def _keys(database: Any) -> Sequence[bytes]:
    with database.begin() as transaction:
        return list(transaction.cursor().iternext(keys=True, values=False))
