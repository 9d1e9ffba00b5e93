"""Pictures that are there more than once, by their pixels: what they do to a comparison is told, not mended."""

from __future__ import annotations

import hashlib

from torch import Tensor

MOST_BYTES = 1 << 30  # of pictures that are looked at: it takes about a second
AT_A_START = 1 << 28  # the same, before a run


def digests(samples: Tensor, most: int = MOST_BYTES) -> list[bytes] | None:
    """One of each picture, equal for equal pixels; None of points, and of more than is cheap."""
    if samples.ndim == 2 or samples.nbytes > most:
        return None
    return [hashlib.blake2b(picture.contiguous().numpy().data, digest_size=16).digest() for picture in samples]


def describe_doubles(train: Tensor, held_out: Tensor | None = None, most: int = MOST_BYTES) -> list[str]:
    """A line for what is there more than once; none if nothing is, or if looking would take long."""
    known = digests(train, most)
    lines = []
    if known is not None and len(set(known)) < len(known):
        lines.append(
            f"doubles: {len(known) - len(set(known)):,} of {len(known):,} training images are copies of another"
        )
    others = None if held_out is None else digests(held_out, most)
    shared = 0 if known is None or others is None else count_shared(others, known)
    if shared and others is not None:
        lines.append(f"doubles: {shared:,} of {len(others):,} held-out images are also training images")
    return lines


def count_shared(some: list[bytes], among: list[bytes]) -> int:
    """How many of some are among the others."""
    there = set(among)
    return sum(each in there for each in some)
