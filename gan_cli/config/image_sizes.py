"""How convolutional networks halve an image: the arithmetic of sides, for the parser and the networks alike."""

from __future__ import annotations

SMALLEST_SIDE = 4  # of an image; smaller ones would be padding for the most part
SMALLEST_BASE = 4  # side of the coarsest map, along the image's shorter side, which is below twice that


def levels_of(height: int, width: int) -> tuple[int, int, int]:
    """(base height, base width, levels): each side is its base times 2**levels, the shorter base 4 to 7.

    ValueError if there are none, or if no level is left to learn.
    """
    levels = (min(height, width) // SMALLEST_BASE).bit_length() - 1
    if levels < 1 or height % 2**levels or width % 2**levels:
        raise ValueError(f"{height} x {width} is not 4 to 7 times a power of two")
    return height >> levels, width >> levels, levels


def padded(height: int, width: int) -> tuple[int, int]:
    """The next larger sides that `levels_of` can halve, into which an image of these fits; the same if it can.

    Fewer than the pixels of one place of the coarsest map are added to a side of 8 and more, so that none is unseen.
    """
    height, width = max(height, 2 * SMALLEST_BASE), max(width, 2 * SMALLEST_BASE)
    while True:
        unit = 2 ** ((min(height, width) // SMALLEST_BASE).bit_length() - 1)
        if height % unit == 0 and width % unit == 0:
            return height, width
        height, width = -(-height // unit) * unit, -(-width // unit) * unit
