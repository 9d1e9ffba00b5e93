"""Encoded pictures and arrays as uint8 of one size and one number of channels, by several threads."""

from __future__ import annotations

import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gan_cli.data.decoding.conversion import (
    DATA,
    DEEP_MODES,
    GREY_MODES,
    Outcome,
    Target,
    finished,
    foreign_profile,
    of_array,
    of_image,
)
from gan_cli.data.decoding.opening import (
    draft,
    is_sideways,
    is_wide,
    load,
    open_picture,
    other_byte,
    reason_of,
    turn_of,
)
from gan_cli.image_files.problems import BadPicture

__all__ = ["BadPicture", "Outcome", "Target", "decode_all", "measured"]
MANY_PIXELS = 32_000_000  # such pictures are decoded one at a time, or eight threads would fill the memory
SHOW_PROGRESS = 2000  # pictures
CHUNK = 16  # pictures that a thread takes at once
_many_pixels = threading.Lock()
Item = TypeVar("Item")
Result = TypeVar("Result")
Content = bytes | np.ndarray


def decode_all(
    items: Sequence[Item], read: Callable[[Item], Content], target: Target, add: Callable[[np.ndarray], None]
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
    items: Sequence[Item], read: Callable[[Item], Content], target: Target
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


def _decode(content: Content, target: Target) -> tuple[np.ndarray, Outcome]:
    """One picture as uint8 `[C, H, W]`, and what had to be done to it; BadPicture if it cannot be used."""
    if isinstance(content, np.ndarray):
        try:
            return finished(of_array(content, target), target, turned=False)
        except (OSError, ValueError, MemoryError) as error:
            raise BadPicture(reason_of(error)) from None
    image = open_picture(content)
    with _many_pixels if image.width * image.height > MANY_PIXELS else nullcontext():
        coloured = image.mode == "RGB"
        if image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L"):
            keeps_mode = target.bands == DATA or foreign_profile(image, target) is not None
            mode = image.mode if keeps_mode else "L" if target.channels == 1 else "RGB"
            draft(image, mode, target.size, target.fit)
        # 16 bits a channel make a difference where not all of their range is kept: else the high byte is all there is.
        wide = is_wide(image)
        low = other_byte(content, image) if wide and not isinstance(target.value_range, str) else None
        by_pillow = image.format == "TIFF" and turn_of(image) is not None
        load(image)
        turn = turn_of(image)  # only now: a PNG's EXIF data may follow its pixels
        try:
            picture = of_image(image, low, wide, target)
            picture = picture if turn is None else picture.turned(turn)
            if coloured and image.mode == "L":  # the decoder itself made it grey
                picture = picture._replace(outcome=picture.outcome._replace(recoloured="grey"))
            return finished(picture, target, turned=by_pillow or turn is not None)
        except (OSError, ValueError, MemoryError) as error:
            raise BadPicture(reason_of(error)) from None


def measured(content: Content) -> tuple[tuple[int, int], bool]:
    """(height, width) of a picture as it is seen, and whether it is grey; BadPicture if it cannot be opened."""
    if isinstance(content, np.ndarray):
        return (content.shape[0], content.shape[1]), content.ndim == 2 or content.shape[2] < 3
    image = open_picture(content)
    sides = image.size if is_sideways(image) else image.size[::-1]
    return sides, image.mode in (*GREY_MODES, *DEEP_MODES)
