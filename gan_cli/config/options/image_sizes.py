"""Computes which image sizes convolutional networks can halve. Used by the config checks and by the networks."""

from __future__ import annotations

MIN_IMAGE_SIDE = 4  # in pixels; a smaller image would be mostly padding
SMALLEST_BASE = 4  # the coarsest feature map has a shorter side from SMALLEST_BASE to 2 * SMALLEST_BASE - 1


def downsampling_levels(height: int, width: int) -> tuple[int, int, int]:
    """Returns (base height, base width, levels), where each side is its base times 2**levels.

    The smaller of the two bases is 4 to 7. Raises ValueError if no such numbers exist, or if `levels` would be 0.
    """
    levels = (min(height, width) // SMALLEST_BASE).bit_length() - 1
    if levels < 1 or height % 2**levels or width % 2**levels:
        raise ValueError(f"{height} x {width} is not 4 to 7 times a power of two")
    return height >> levels, width >> levels, levels


def padded_size(height: int, width: int) -> tuple[int, int]:
    """Returns the smallest size, at least the given one in both sides, that `downsampling_levels` accepts.

    A side of 8 pixels or more grows by fewer pixels than one position of the coarsest feature map covers, so that
    every position covers pixels of the image.
    """
    height, width = max(height, 2 * SMALLEST_BASE), max(width, 2 * SMALLEST_BASE)
    while True:
        unit = 2 ** ((min(height, width) // SMALLEST_BASE).bit_length() - 1)
        if height % unit == 0 and width % unit == 0:
            return height, width
        height, width = -(-height // unit) * unit, -(-width // unit) * unit
