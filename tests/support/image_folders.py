"""Data sets that are loaded from a folder of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gan_cli.data.dataset import Dataset
from gan_cli.data.folder import build_folder
from gan_cli.data.selection import Selection
from gan_cli.errors import UsageError

ALL_IMAGES = Selection()


def load_folder(
    path: Path | str | tuple[str, ...],
    *,
    size: tuple[int, int] = (8, 8),
    channels: int = 3,
    background: str = "white",
    on_bad: str = "error",
    cache: Path | str = "none",
    split: str = "train",
    labels: Path | str | None = None,
    selection: Selection = ALL_IMAGES,
    **choices: Any,
) -> Dataset:
    """Loads a folder of images, by default as 8 x 8 RGB, without a cache."""
    return build_folder(
        path=path if isinstance(path, tuple) else str(path),
        image_size=size,
        image_channels=channels,
        background=background,
        on_bad=on_bad,
        cache=str(cache),
        labels=None if labels is None else str(labels),
        split=split,
        selection=selection,
        **choices,
    )


def folder_error(path: Path | str | tuple[str, ...], **options: object) -> str:
    """Returns the text of the UsageError that loading the folder raises, which must be one line."""
    with pytest.raises(UsageError) as caught:
        load_folder(path, **options)  # type: ignore[arg-type]
    assert str(caught.value).isprintable()
    return str(caught.value)


def load_single_file(tmp_path: Path, content: bytes, name: str = "a.png", **options) -> Dataset:
    """Loads a folder that holds one file of this content."""
    (tmp_path / "one").mkdir(exist_ok=True)
    (tmp_path / "one" / name).write_bytes(content)
    return load_folder(tmp_path / "one", **options)


def pixel(dataset: Dataset, y: int = 0, x: int = 0) -> tuple[int, ...]:
    """Returns the channels of a pixel of the first sample, 0 to 255."""
    return tuple(dataset.samples[0, :, y, x].tolist())
