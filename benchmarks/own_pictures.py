"""The picture sets of first_command.py: what a person may bring, and pictures of the same kind that no run is shown."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import picture_sets
from scores import real_of
from updates import config_of

from gan_cli.data.dataset import Dataset
from gan_cli.data.load_dataset import build_dataset
from gan_cli.evaluation.real_data import RealData

USUAL_SIZE = 64  # what a folder of pictures is brought to where nobody says otherwise
HELD_OUT, HELD_OUT_FACES = 2000, 1_000_000  # how many; the seed of the first face


class Pictures(NamedTuple):
    """A set by its name in picture_sets.py. `within` names a larger set that it is the beginning of."""

    name: str
    count: int
    size: int = USUAL_SIZE
    within: str | None = None


SETS = {
    "toon-head": Pictures("toon-head", 6000),
    "micah": Pictures("micah", 6000),
    "twemoji": Pictures("twemoji", 1600),
    "photographs": Pictures("photographs", 2000),
    "toon-head-200": Pictures("toon-head", 200, within="toon-head"),
    "toon-head-32": Pictures("toon-head", 6000, 32),
    "toon-head-128": Pictures("toon-head", 6000, 128),
}
EXTRACTORS = {name: ("random",) if name == "twemoji" else ("classifier", "random") for name in SETS}


def make_sets(names: list[str], folder: Path, sources: Path) -> None:
    """Makes those that `folder` lacks, and their held-out pictures; one that is there is taken as it is."""
    for name in names:
        pictures = SETS[name]
        if pictures.within is not None:
            make_sets([pictures.within], folder, sources)
        _make(folder / name, picture_sets.pictures(pictures.name, pictures.count, pictures.size, sources))
        if has_held_out(pictures):
            _make(folder / f"{name}-held-out", _held_out(pictures, sources))


def has_held_out(pictures: Pictures) -> bool:
    """Of emoji there are too few, which are cut into halves."""
    return pictures.name not in picture_sets.EMOJI and pictures.within is None


def _held_out(pictures: Pictures, sources: Path) -> Iterator[picture_sets.Picture]:
    name, count, size, _ = pictures
    if name == "photographs":  # other crops of the same photographs
        return islice(picture_sets.pictures(name, count + HELD_OUT, size, sources), count, None)
    return picture_sets.pictures(name, HELD_OUT, size, sources, HELD_OUT_FACES)


def _make(folder: Path, pictures: Iterator[picture_sets.Picture]) -> None:
    """The folder appears when all of it is there."""
    if folder.exists():
        return
    part = folder.with_name(f".{folder.name}.part")
    if part.exists():
        raise SystemExit(f"{part}: was not finished, remove it")
    print(f"making {folder}", file=sys.stderr, flush=True)
    picture_sets.save(part, pictures)
    part.rename(folder)


def overrides_of(name: str, folder: Path) -> list[str]:
    """As a person types them."""
    size = SETS[name].size
    sized = [f"image_size={size}"] if size != USUAL_SIZE else []
    return ["dataset=folder", f"dataset.path={(folder / name).absolute()}", *sized]


def real_pictures(name: str, folder: Path) -> RealData:
    """Those a run is given, all of their kind, and the held-out ones."""
    pictures = SETS[name]
    if not has_held_out(pictures) and pictures.within is None:
        return real_of(overrides_of(name, folder))
    whole = pictures.within or name
    held_out = Path(folder, f"{whole}-held-out").absolute()
    size = f"image_size={pictures.size}"
    return RealData(
        train=_built(overrides_of(name, folder)),
        train_unlimited=_built(overrides_of(whole, folder)),
        held_out=_built(["dataset=folder", f"dataset.path={held_out}", size]),
    )


def _built(overrides: list[str]) -> Dataset:
    config = config_of(overrides)
    return build_dataset(config.dataset, config.image_size)
