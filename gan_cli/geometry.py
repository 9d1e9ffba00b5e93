"""How convolutional networks halve an image: the arithmetic of sides, for the parser and the networks alike."""

from __future__ import annotations

SMALLEST_BASE, BELOW_BASE = 4, 8  # side of the coarsest map, along the image's shorter side
EXAMPLES = (16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256)


def levels_of(height: int, width: int) -> tuple[int, int, int]:
    """(base height, base width, levels): each side is its base times 2**levels, the shorter base 4 to 7.

    ValueError if there are none, or if no level is left to learn.
    """
    levels = (min(height, width) // SMALLEST_BASE).bit_length() - 1
    if levels < 1 or height % 2**levels or width % 2**levels:
        raise ValueError(f"{height} x {width} is not 4 to 7 times a power of two")
    return height >> levels, width >> levels, levels
