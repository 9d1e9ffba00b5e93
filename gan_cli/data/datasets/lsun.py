"""LSUN: photographs of scenes, read from the published lmdb databases. torchvision would pickle their lists of keys."""

from __future__ import annotations

import bisect
import contextlib
import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from gan_cli.config.options.published_datasets import PUBLISHED
from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets.downloaded_archives import damaged_file_error, missing_data_error, root_folder
from gan_cli.data.datasets.published_images import PublishedImages
from gan_cli.data.selection import Selection
from gan_cli.errors import one_line
from gan_cli.extras import require_extra
from gan_cli.image_files.formats import BadImageError
from gan_cli.image_files.listing import ListedFile
from gan_cli.image_labels.folder_classes import Layout, class_indices

SCENES: list[str] = PUBLISHED["lsun"]["source"]["classes"]
SPLITS = {"train": "train", "test": "val"}


def load_lsun(
    *, root: str, download: bool, split: str, image_size: tuple[int, int], selection: Selection, cache: str = "none"
) -> Dataset:
    """Returns the selected images of a split of LSUN. Its classes are the scenes of the selection, or all in `root`."""
    require_extra("lsun", "dataset=lsun")
    folder = root_folder(root)
    names = {scene: f"{scene}_{SPLITS[split]}_lmdb" for scene in SCENES}
    there = [scene for scene in SCENES if (folder / names[scene]).is_dir()]
    scenes = selection.classes or tuple(there)
    class_indices(scenes or SCENES, (), SCENES)  # raises UsageError for a scene that there is not
    if missing := [names[scene] for scene in scenes or SCENES[:1] if scene not in there]:
        wanted = [f"{name} (the folder in {name}.zip)" for name in missing]
        raise missing_data_error("LSUN", root, "is not downloaded by gan-cli", wanted, folder)
    paths = [str(folder / names[scene]) for scene in scenes]
    with contextlib.ExitStack() as stack:
        databases = [stack.enter_context(_opened(path)) for path in paths]
        images = PublishedImages("LSUN", split, folder, read=partial(_read, databases))
        list_images = partial(_list_images, scenes, databases)
        return images.load(list_images, image_size, selection, cache, paths, "lsun", root)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Any]:
    """Opens a database for reading. Writes no lock file, so that a read-only folder suffices."""
    import lmdb

    try:
        with lmdb.open(path, readonly=True, lock=False, readahead=False, max_readers=1) as database:
            yield database
    except lmdb.Error as error:
        raise damaged_file_error(path, f"is no lmdb database ({one_line(error, 100)})") from error


class _Keys(Sequence[ListedFile]):
    """The images of several scenes, which are millions: the entries of the list are built when they are needed."""

    def __init__(self, scenes: Sequence[str], keys: Sequence[Sequence[bytes]]) -> None:
        self._scenes, self._keys = scenes, keys
        self._ends = list(itertools.accumulate(map(len, keys)))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: Any) -> Any:
        scene = bisect.bisect_right(self._ends, index)
        key = self._keys[scene][index - self._ends[scene]]
        return ListedFile((self._scenes[scene], key.decode("ascii", "replace")), (scene, key))


def _list_images(scenes: Sequence[str], databases: Sequence[Any]) -> Layout:
    keys = []
    for database in databases:
        with database.begin() as transaction:
            keys.append(list(transaction.cursor().iternext(keys=True, values=False)))
    labels = [scene for scene, found in enumerate(keys) for _ in found]
    return Layout(_Keys(scenes, keys), labels, tuple(scenes))


def _read(databases: Sequence[Any], file: ListedFile) -> bytes:
    scene, key = file.location
    with databases[scene].begin() as transaction:
        content = transaction.get(key)
    if content is None:
        raise BadImageError("gone")
    return bytes(content)
