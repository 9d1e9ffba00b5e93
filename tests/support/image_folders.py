"""Data sets that are loaded from a folder of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gan_cli.data.dataset import Dataset
from gan_cli.data.folder import build_folder
from gan_cli.data.selection import Selection
from gan_cli.errors import UsageError

EVERYTHING = Selection()


def load(
    path: Path | str | tuple[str, ...],
    *,
    size: tuple[int, int] = (8, 8),
    channels: int = 3,
    background: str = "white",
    on_bad: str = "error",
    cache: Path | str = "none",
    split: str = "train",
    labels: Path | str | None = None,
    selection: Selection = EVERYTHING,
    **choices: Any,
) -> Dataset:
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


def refusal(path: Path | str | tuple[str, ...], **options: object) -> str:
    """The one line that a path is refused with."""
    with pytest.raises(UsageError) as caught:
        load(path, **options)  # type: ignore[arg-type]
    assert str(caught.value).isprintable()
    return str(caught.value)


def one(tmp_path: Path, content: bytes, name: str = "a.png", **options) -> Dataset:
    """The data set of a folder with this one file."""
    (tmp_path / "one").mkdir(exist_ok=True)
    (tmp_path / "one" / name).write_bytes(content)
    return load(tmp_path / "one", **options)


def pixel(dataset: Dataset, y: int = 0, x: int = 0) -> tuple[int, ...]:
    return tuple(dataset.samples[0, :, y, x].tolist())
