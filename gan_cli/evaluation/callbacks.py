"""The functions that an evaluation calls to tell its caller what it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from PIL import Image

LogCallback = Callable[[str], None]  # takes a line for the user
ProgressCallback = Callable[[str, int, int], None]  # takes what is counted, the number done, and the total number
CountCallback = Callable[[int, int], None]  # takes the number of samples done, and their total number


def ignore(*arguments: object) -> None:
    """Does nothing: the default of every callback."""


class Listeners(NamedTuple):
    """The functions that an evaluation calls: with lines for the user, with its progress, and with an image.

    The image shows samples above their nearest training images. It is drawn if memorization is evaluated.
    """

    log: LogCallback = ignore
    progress: ProgressCallback = ignore
    on_pairs: Callable[[Image.Image], None] = ignore


SILENT = Listeners()
