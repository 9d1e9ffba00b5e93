"""The functions that an evaluation calls to tell its caller what it does."""

from __future__ import annotations

from collections.abc import Callable

LogCallback = Callable[[str], None]  # takes a line for the user
ProgressCallback = Callable[[str, int, int], None]  # takes what is counted, the number done, and the total number
CountCallback = Callable[[int, int], None]  # takes the number of samples done, and their total number


def ignore(*arguments: object) -> None:
    """Does nothing: the default of every callback."""
