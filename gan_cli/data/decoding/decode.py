"""Decodes encoded images and arrays to uint8 of one size and channel count, in several threads."""

from __future__ import annotations

import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gan_cli.config.options.datasets import DATA
from gan_cli.data.decoding import conversion, open_image
from gan_cli.data.decoding.conversion import ImageOutcome, TargetFormat, fit_to_target
from gan_cli.image_files.formats import BadImageError

MOST_PIXELS_AT_ONCE = 64_000_000  # in all threads together, because eight large images would fill the memory
SHOW_PROGRESS = 2000  # a progress bar is shown for more images than this
CHUNK = 16  # images that a thread decodes in one call
Item = TypeVar("Item")
Result = TypeVar("Result")
Content = bytes | np.ndarray


class _PixelBudget:
    """Lets threads decode images of together at most MOST_PIXELS_AT_ONCE pixels, or a single larger image."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._used = 0

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Waits until there is room for an image of so many pixels."""
        with self._changed:
            self._changed.wait_for(lambda: self._used == 0 or self._used + pixels <= MOST_PIXELS_AT_ONCE)
            self._used += pixels
        try:
            yield
        finally:
            with self._changed:
                self._used -= pixels
                self._changed.notify_all()


_budget = _PixelBudget()


def decode_all(
    items: Sequence[Item], read: Callable[[Item], Content], target: TargetFormat, add: Callable[[np.ndarray], None]
) -> list[ImageOutcome]:
    """Decodes `items` and passes the usable images to `add` in chunks uint8 `[n, C, H, W]`. Returns all outcomes.

    Images and outcomes keep the order of `items`. `read` returns the content of an item, or raises BadImageError.
    Several threads call `read`; only the calling thread calls `add`. Any other exception ends the decoding. At most a
    few chunks are in memory at once.
    """

    def work(start: int) -> tuple[np.ndarray, list[ImageOutcome]]:
        return _decode_some(items[start : start + CHUNK], read, target)

    outcomes: list[ImageOutcome] = []
    known: dict[ImageOutcome, ImageOutcome] = {}  # equal outcomes share one object
    workers = min(8, os.cpu_count() or 1)
    console = Console()
    columns = (TextColumn("images"), MofNCompleteColumn(), BarColumn(bar_width=24), TimeRemainingColumn())
    quiet = len(items) <= SHOW_PROGRESS or not console.is_terminal
    bar = Progress(*columns, console=console, transient=True, disable=quiet)
    # The filter and the limit are global to the process, so they are set here and not in a thread.
    with warnings.catch_warnings(action="ignore"), open_image.limit_of_pillow_lifted(), bar as progress:
        task = progress.add_task("", total=len(items))
        pool = ThreadPoolExecutor(workers)
        try:
            for pixels, done in _in_order(pool, work, range(0, len(items), CHUNK), ahead=2 * workers):
                add(pixels)
                outcomes += [known.setdefault(outcome, outcome) for outcome in done]
                progress.advance(task, len(done))
        finally:  # after Ctrl-C, calls that have not begun are cancelled
            pool.shutdown(cancel_futures=True)
    return outcomes


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[int], Result], starts: Iterable[int], ahead: int
) -> Iterator[Result]:
    """Yields the results of `work` in order. Queues about `ahead` calls; `pool.map` would queue all of them."""
    waiting: deque[Future[Result]] = deque()
    for start in starts:
        waiting.append(pool.submit(work, start))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _decode_some(
    items: Sequence[Item], read: Callable[[Item], Content], target: TargetFormat
) -> tuple[np.ndarray, list[ImageOutcome]]:
    """Decodes some items. Returns the usable images as uint8 `[n, C, H, W]`, and the outcome of each item."""
    pixels = np.empty((len(items), *target.shape), dtype=np.uint8)
    outcomes: list[ImageOutcome] = []
    good = 0
    for item in items:
        try:
            pixels[good], outcome = decode_one(read(item), target)
            good += 1
        except BadImageError as bad:
            outcome = ImageOutcome(bad=str(bad))
        outcomes.append(outcome)
    return pixels[:good], outcomes


def decode_one(content: Content, target: TargetFormat) -> tuple[np.ndarray, ImageOutcome]:
    """Decodes one image. Returns uint8 `[C, H, W]` and the outcome. Raises BadImageError if it cannot be used."""
    try:
        if isinstance(content, np.ndarray):
            return fit_to_target(conversion.convert_array(content, target), target, reoriented=False)
        return _decode_encoded(content, target)
    except (OSError, ValueError, MemoryError) as error:
        raise BadImageError(open_image.describe_decode_error(error)) from None


def _decode_encoded(content: bytes, target: TargetFormat) -> tuple[np.ndarray, ImageOutcome]:
    image = open_image.open_image(content)
    coloured, whole = image.mode == "RGB", image.size
    if image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L") and not target.half:
        keeps_mode = target.bands == DATA or conversion.foreign_profile(image, target) is not None
        mode = image.mode if keeps_mode else "L" if target.channels == 1 else "RGB"
        open_image.draft(image, mode, target.size, target.fit)
    with _budget.hold(open_image.require_pixels(image, content, target.max_pixels)):
        # The low bytes of 16-bit channels matter only where a part of the range is scaled to 0..255.
        wide = open_image.has_16_bit_channels(image)
        low = open_image.open_low_bytes(content, image) if wide and not isinstance(target.value_range, str) else None
        by_pillow = image.format == "TIFF" and open_image.exif_transpose(image) is not None
        open_image.decode_pixels(image)
        orientation = open_image.exif_transpose(image)  # read last, because a PNG's EXIF data may follow its pixels
        converted = conversion.convert_image(image, low, wide, target)
        if orientation is not None:
            converted = converted._replace(images=tuple(each.transpose(orientation) for each in converted.images))
        if coloured and image.mode == "L":  # the JPEG decoder converted it to grey
            converted = converted._replace(outcome=converted.outcome._replace(recoloured="grey"))
        reduced = image.size != whole and image.format in ("JPEG", "MPO")
        pixels, outcome = fit_to_target(converted, target, reoriented=by_pillow or orientation is not None)
        if reduced and target.keep_sides:  # by the JPEG decoder, which rounds
            outcome = outcome._replace(sides=whole[::-1] if orientation in open_image.SIDEWAYS else whole)
        return pixels, outcome


class Header(NamedTuple):
    """What the start of an image file says: height and width after EXIF rotation, and the kind of its pixels."""

    sides: tuple[int, int]
    colours: str  # grey, colour, palette, CMYK, or a number of bands
    alpha: bool
    deep: bool  # more than 8 bits for each value


def read_header(content: Content) -> Header:
    """Returns the header of an encoded image or an array. Raises BadImageError if it is not a usable image."""
    if isinstance(content, np.ndarray):
        bands = 1 if content.ndim == 2 else content.shape[2]
        colours = "grey" if bands < 3 else "colour" if bands < 5 else f"of {bands} bands"
        return Header((content.shape[0], content.shape[1]), colours, bands in (2, 4), content.dtype.itemsize > 1)
    grey = dict.fromkeys((*conversion.GREY_MODES, *conversion.DEEP_MODES), "grey")
    kinds = {"P": "palette", "PA": "palette", "CMYK": "CMYK"} | grey
    with warnings.catch_warnings(action="ignore"):  # of Pillow, about odd metadata
        image = open_image.open_image(content)
        sides = image.size if open_image.is_sideways(image) else (image.height, image.width)
        deep = image.mode in conversion.DEEP_MODES or open_image.has_16_bit_channels(image)
        return Header(sides, kinds.get(image.mode, "colour"), image.has_transparency_data, deep)
