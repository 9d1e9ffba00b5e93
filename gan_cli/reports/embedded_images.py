"""Embeds sample grids in a report as `data:` addresses, reduced to fit a size in bytes."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from gan_cli.images.animation import evenly_spaced, open_grid, remove_opacity
from gan_cli.storage.run_files import read_bytes

MOST_FRAMES = 60
LARGEST_SIDE = 1280  # pixels of an embedded image
MOST_PIXELS = 200_000_000  # decoded for a page, which takes some seconds: 46 grids of 64 images of 256 pixels
FEWEST_FRAMES = 8  # number of frames that are shown even if they have more than MOST_PIXELS
LARGEST_FRAME = 400_000  # bytes
WEBP_QUALITY, TRIES = 80, 6  # WebP quality, and how often an image is reduced to fit


class EmbeddedImage(NamedTuple):
    """An image as a `data:` address, with the width and height of its file."""

    uri: str
    width: int
    height: int
    step: int = 0


def embed_frames(grids: Sequence[tuple[int, Path]], budget: int) -> list[EmbeddedImage]:
    """Returns evenly spaced grids as embedded images, with the first and the last, in at most `budget` bytes."""
    if not grids or not budget:
        return []
    largest = max(1, *(_pixels(path) for _, path in evenly_spaced(grids, MOST_FRAMES)))
    chosen = evenly_spaced(grids, min(MOST_FRAMES, max(FEWEST_FRAMES, MOST_PIXELS // largest)))
    most = min(LARGEST_FRAME, budget // len(chosen))
    images = (embed_image(path, most, step=step) for step, path in chosen)
    return [image for image in images if image is not None]


def _pixels(path: Path) -> int:
    """Returns the number of pixels of a grid, or 0 if it cannot be read."""
    try:
        with open_grid(path) as image:
            return image.width * image.height
    except Exception:
        return 0


def embed_image(path: Path, most: int, side: int = LARGEST_SIDE, step: int = 0) -> EmbeddedImage | None:
    """Returns a PNG file as an embedded image of at most `most` bytes of base64 and `side` pixels on each side.

    A larger file is embedded as a smaller WebP image. None if the file is no PNG or cannot be made small enough.
    """
    most = most * 3 // 4  # base64 makes data a third larger
    try:
        with open_grid(path) as image:
            width, height = image.size
            if max(width, height) <= side and path.stat().st_size <= most:
                return EmbeddedImage(_uri("png", read_bytes(path, most)), width, height, step)
            image.thumbnail((side, side))
            shrunk = _shrink(remove_opacity(image), most)
    except Exception:  # Pillow raises many kinds for invalid files, and none of them may stop the report
        return None
    return None if shrunk is None else EmbeddedImage(_uri("webp", shrunk), width, height, step)


def _shrink(image: Image.Image, most: int) -> bytes | None:
    for _ in range(TRIES):
        stream = io.BytesIO()
        image.save(stream, format="WEBP", quality=WEBP_QUALITY, method=2)
        if stream.tell() <= most:
            return stream.getvalue()
        factor = 0.9 * math.sqrt(most / stream.tell())
        if min(image.size) * factor < 1:
            return None
        image = image.resize((int(image.width * factor), int(image.height * factor)))
    return None


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
