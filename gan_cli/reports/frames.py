"""Sample grids as addresses that hold the picture itself, small enough that a page of many can be sent to somebody."""

from __future__ import annotations

import base64
import io
import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from gan_cli.images.animation import flat
from gan_cli.storage.run_folder import SAMPLES

MOST_FRAMES = 60
LARGEST_SIDE = 1280  # pixels of a picture that is shown
MOST_PIXELS = 200_000_000  # that are decoded for a page, which takes some seconds: 46 grids of 64 images of 256 pixels
FEWEST_FRAMES = 8  # that are shown even if they have more
LARGEST_FRAME = 400_000  # bytes
LARGEST_SOURCE = 2**30
QUALITY, TRIES = 80, 6  # of WebP, and how often a picture is made smaller to fit


@dataclass(frozen=True)
class Picture:
    """`uri` holds the picture; `width` and `height` are those of its file."""

    uri: str
    width: int
    height: int
    step: int = 0


def grids_of(run: Path, last: float | None = None) -> list[tuple[int, Path]]:
    """(step, file) of a run's grids, in order; those of steps past `last` belong to a run that fell back."""
    numbered = [(re.fullmatch(r"step_([0-9]{1,15})", path.stem), path) for path in _files(run / SAMPLES)]
    grids = sorted((int(match[1]), path) for match, path in numbered if match)
    return [(step, path) for step, path in grids if last is None or step <= last]


def _files(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.suffix == ".png" and path.is_file()]
    except OSError:
        return []


def embed_frames(grids: Sequence[tuple[int, Path]], budget: int) -> list[Picture]:
    """Evenly chosen grids, the first and last among them, in `budget` bytes altogether."""
    count = min(len(grids), MOST_FRAMES, max(FEWEST_FRAMES, MOST_PIXELS // max(1, _pixels(grids))))
    if not count or not budget:
        return []
    chosen = [grids[round(index * (len(grids) - 1) / max(count - 1, 1))] for index in range(count)]
    most = min(LARGEST_FRAME, budget // count)
    pictures = [(step, embed_picture(path, most)) for step, path in chosen]
    return [Picture(found.uri, found.width, found.height, step) for step, found in pictures if found is not None]


def _pixels(grids: Sequence[tuple[int, Path]]) -> int:
    """Of one of the grids."""
    try:
        with _unalarmed(), Image.open(grids[-1][1]) as image:
            return image.width * image.height
    except Exception:
        return 0


def embed_picture(path: Path, most: int, side: int = LARGEST_SIDE) -> Picture | None:
    """The file as it is if that takes at most so many bytes in base64, else a smaller WebP; None if it is no PNG."""
    most = most * 3 // 4  # what base64 makes of it is a third larger
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_SOURCE:
            return None
        with _unalarmed(), Image.open(path, formats=["PNG"]) as image:
            width, height = image.size
            if max(width, height) <= side and path.stat().st_size <= most:
                return Picture(_uri("png", path.read_bytes()), width, height)
            image.thumbnail((side, side))
            shrunk = _shrink(flat(image), most)
    except Exception:  # Pillow raises many kinds for what is no picture, and none of them may end a page
        return None
    return None if shrunk is None else Picture(_uri("webp", shrunk), width, height)


def _shrink(image: Image.Image, most: int) -> bytes | None:
    for _ in range(TRIES):
        stream = io.BytesIO()
        image.save(stream, format="WEBP", quality=QUALITY, method=2)
        if stream.tell() <= most:
            return stream.getvalue()
        factor = 0.9 * math.sqrt(most / stream.tell())
        if min(image.size) * factor < 1:
            return None
        image = image.resize((int(image.width * factor), int(image.height * factor)))
    return None


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _unalarmed() -> warnings.catch_warnings:
    """Large pictures are expected here; of more than twice Pillow's limit it makes an error all the same."""
    return warnings.catch_warnings(action="ignore")
