"""Encoded pictures (PNG, JPEG, WebP, BMP) as uint8 of one size and one number of channels, by several threads."""

from __future__ import annotations

import io
import math
import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageColor, ImageFile, UnidentifiedImageError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gan_cli.data.images import crop_box
from gan_cli.imagefolder.listing import BadPicture

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
MOST_PIXELS = 178_956_970  # of one picture; from here on Pillow takes a file for a decompression bomb
MANY_PIXELS = 32_000_000  # such pictures are decoded one at a time, or eight threads would fill the memory
SHOW_PROGRESS = 2000  # pictures
CHUNK = 16  # pictures that a thread takes at once

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
READ_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
SIXTEEN_BITS = ("I", "I;16", "I;16B", "I;16L", "I;16N")
OWN_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"BM")
FOREIGN_MAGIC = {
    (0, b"GIF8"): "gif",
    (0, b"II*\0"): "tiff",
    (0, b"MM\0*"): "tiff",
    (0, b"8BPS"): "psd",
    (0, b"%PDF"): "pdf",
    (4, b"ftypavif"): "avif",
    (4, b"ftypheic"): "heic",
}
TURNS = {  # an EXIF orientation and what undoes it
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = tuple(TURNS[orientation] for orientation in (5, 6, 7, 8))
_many_pixels = threading.Lock()
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Target:
    """What every picture becomes: `size` is (height, width), `channels` 1, 3 or 4; `background` a colour's name."""

    size: tuple[int, int]
    channels: int
    background: str

    @property
    def mode(self) -> str:
        return MODES[self.channels]

    @property
    def colour(self) -> tuple[int, int, int]:
        red, green, blue = ImageColor.getrgb(self.background)[:3]
        return red, green, blue

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.channels, *self.size)


class Outcome(NamedTuple):
    """What became of one picture: why it is not used, or what had to be done to it."""

    bad: str | None = None
    turned: bool = False
    flattened: bool = False
    enlarged: bool = False


def decode_all(
    items: Sequence[Item], read: Callable[[Item], bytes], target: Target, add: Callable[[np.ndarray], None]
) -> list[Outcome]:
    """Gives `add` the good ones of `items`, uint8 `[n, C, H, W]`, some at a time in their order; each one's outcome.

    `read` gives an item's bytes, or raises BadPicture; it is called from several threads, `add` from this one. What
    else they raise ends the decoding and is passed on. Never more than a few chunks are in memory.
    """

    def work(start: int) -> tuple[np.ndarray, list[Outcome]]:
        return _decode_some(items[start : start + CHUNK], read, target)

    outcomes: list[Outcome] = []
    known: dict[Outcome, Outcome] = {}  # of a million outcomes few differ
    workers = min(8, os.cpu_count() or 1)
    console = Console()
    columns = (TextColumn("pictures"), MofNCompleteColumn(), BarColumn(bar_width=24), TimeRemainingColumn())
    quiet = len(items) <= SHOW_PROGRESS or not console.is_terminal
    # The filter is the whole process's, so it is set here and not in a thread.
    with warnings.catch_warnings(), Progress(*columns, console=console, transient=True, disable=quiet) as progress:
        warnings.simplefilter("ignore")
        task = progress.add_task("", total=len(items))
        pool = ThreadPoolExecutor(workers)
        try:
            for pixels, done in _in_order(pool, work, range(0, len(items), CHUNK), ahead=2 * workers):
                add(pixels)
                outcomes += [known.setdefault(outcome, outcome) for outcome in done]
                progress.advance(task, len(done))
        finally:  # Ctrl-C must not wait for what has not begun
            pool.shutdown(cancel_futures=True)
    return outcomes


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[int], Result], starts: Iterable[int], ahead: int
) -> Iterator[Result]:
    """The results of `work`, of which at most `ahead` wait to be taken: `pool.map` would let all of them pile up."""
    waiting: deque[Future[Result]] = deque()
    for start in starts:
        waiting.append(pool.submit(work, start))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _decode_some(
    items: Sequence[Item], read: Callable[[Item], bytes], target: Target
) -> tuple[np.ndarray, list[Outcome]]:
    """The good ones as uint8 `[n, C, H, W]`, and the outcome of each."""
    pixels = np.empty((len(items), *target.shape), dtype=np.uint8)
    outcomes: list[Outcome] = []
    good = 0
    for item in items:
        try:
            pixels[good], outcome = _decode(read(item), target)
            good += 1
        except BadPicture as bad:
            outcome = Outcome(bad=str(bad))
        outcomes.append(outcome)
    return pixels[:good], outcomes


def _decode(data: bytes, target: Target) -> tuple[np.ndarray, Outcome]:
    """One encoded picture as uint8 `[C, H, W]`, and what had to be done to it; BadPicture if it cannot be used."""
    image = _open(data)
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a camera's JPEG with a preview in it is no animation
        raise BadPicture(f"is animated, {frames} frames")
    with _many_pixels if image.width * image.height > MANY_PIXELS else nullcontext():
        if image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L"):
            _draft(image, target, sideways=_turn(image) in SIDEWAYS)
        _load(image)
        turn = _turn(image)  # only now: a PNG's EXIF data may follow its pixels
        try:
            converted, flattened = _converted(image, target)
            if turn is not None:
                converted = converted.transpose(turn)
            pixels, enlarged = _fitted(converted, target)
        except (OSError, ValueError, MemoryError) as error:
            raise BadPicture(_reason(error)) from None
    return pixels, Outcome(turned=turn is not None, flattened=flattened, enlarged=enlarged)


# --- opening -----------------------------------------------------------------------------------------------------


def _open(data: bytes) -> ImageFile.ImageFile:
    if not data:
        raise BadPicture("empty")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise BadPicture(f"more than {MOST_PIXELS:,} pixels") from None
    except UnidentifiedImageError:
        raise BadPicture(_what_else(data)) from None
    except Exception as error:  # a damaged file makes Pillow's readers raise almost anything
        raise BadPicture(_reason(error)) from None
    if image.width * image.height > MOST_PIXELS:
        raise BadPicture(f"more than {MOST_PIXELS:,} pixels")
    return image


def _load(image: ImageFile.ImageFile) -> None:
    """Decodes the pixels; `info` then gives a transparent colour in their depth, where Pillow leaves the file's."""
    raw = image.tile[0].args if image.format == "PNG" and image.tile else None
    try:
        image.load()
    except Exception as error:  # as above
        raise BadPicture(_reason(error)) from None
    key = image.info.get("transparency")
    if isinstance(key, int) and raw in ("L;2", "L;4"):
        image.info["transparency"] = key * (85 if raw == "L;2" else 17)
    elif isinstance(key, tuple) and raw == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)


def _what_else(data: bytes) -> str:
    if data.startswith(OWN_MAGIC):
        return "damaged"
    for (start, magic), kind in FOREIGN_MAGIC.items():
        if data[start:].startswith(magic):
            return f"is a {kind}, whatever its name says: convert it to png"
    return "not a picture, whatever its name says"


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "needs more memory than there is"
    return "truncated" if "truncated" in str(error).lower() else "damaged"


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What undoes the orientation in the EXIF data."""
    try:
        return TURNS.get(image.getexif().get(0x0112, 1))
    except Exception:  # damaged EXIF data say nothing about the picture itself
        return None


def _draft(image: ImageFile.ImageFile, target: Target, *, sideways: bool) -> None:
    """Has a large JPEG decoded at a half, a quarter or an eighth, where what is cut keeps twice the target's size."""
    height, width = target.size[::-1] if sideways else target.size
    _, _, cut_height, cut_width = crop_box(image.height, image.width, (height, width))
    least = (
        math.ceil(2 * width * image.width / cut_width),
        math.ceil(2 * height * image.height / cut_height),
    )
    image.draft("L" if target.channels == 1 else "RGB", least)


# --- pixels ------------------------------------------------------------------------------------------------------


def _converted(image: Image.Image, target: Target) -> tuple[Image.Image, bool]:
    """`image` in the target's mode, and whether transparent pixels were put on the background."""
    if image.mode in SIXTEEN_BITS:
        image = _eight_bits(image)
    if image.mode not in READ_MODES:
        raise BadPicture(f"pixels of the kind {image.mode} are not read")
    if not image.has_transparency_data:
        return (image if image.mode == target.mode else image.convert(target.mode)), False
    image = image.convert("RGBA")
    if target.channels == 4:
        return image, False
    alpha = image.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return image.convert(target.mode), False
    canvas = Image.new("RGB", image.size, target.colour)
    canvas.paste(image, mask=alpha)
    return canvas.convert(target.mode), True


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey as 8-bit grey, with opacity if one of its values stands for transparent."""
    values = np.asarray(image).astype(np.int32)
    if values.min() < 0 or values.max() > 65535:
        raise BadPicture("has values beyond 16 bits")
    grey = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    key = image.info.get("transparency")
    if not isinstance(key, int):
        return grey
    return Image.merge("LA", (grey, Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8))))


def _fitted(image: Image.Image, target: Target) -> tuple[np.ndarray, bool]:
    """The middle of `image` as uint8 `[C, H, W]` of the target's size, and whether it had to be enlarged for that."""
    height, width = target.size
    top, left, cut_height, cut_width = crop_box(image.height, image.width, target.size)
    box = (left, top, left + cut_width, top + cut_height)
    # Pillow resizes RGBA with its colours multiplied by their opacity, so hidden colours do not bleed.
    resized = image.resize((width, height), Image.Resampling.LANCZOS, box=box)
    pixels = np.array(resized).reshape(height, width, target.channels)
    if target.channels == 4:
        pixels[pixels[..., 3] == 0, :3] = target.colour
    return pixels.transpose(2, 0, 1), cut_height < height or cut_width < width
