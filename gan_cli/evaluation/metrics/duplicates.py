"""Finds images that occur more than once, by their pixels. Duplicates are reported, not removed."""

from __future__ import annotations

import hashlib

from torch import Tensor

from gan_cli.data.streamed_images import is_streamed

MOST_BYTES = 1 << 30  # of images that are hashed, which takes about a second
MAX_BYTES_AT_START = 1 << 28  # the same limit when a run starts


def image_digests(samples: Tensor, most: int = MOST_BYTES) -> list[bytes]:
    """Returns a hash of each image; equal images have equal hashes.

    Returns [] for points, above `most` bytes, and for images that are decoded when they are read.
    """
    if samples.ndim == 2 or samples.nbytes > most or is_streamed(samples):
        return []
    return [hashlib.blake2b(image.contiguous().numpy().data, digest_size=16).digest() for image in samples]


def describe_duplicates(train: Tensor, held_out: Tensor | None = None, most: int = MOST_BYTES) -> list[str]:
    """Returns lines about duplicates in `train`, and about held-out images that are also in `train`.

    The list is empty if there are none. Images of more than `most` bytes are not examined.
    """
    known, others = image_digests(train, most), [] if held_out is None else image_digests(held_out, most)
    copies, shared = len(known) - len(set(known)), count_shared(others, known)
    lines = [f"duplicates: {copies:,} of {len(known):,} training images are copies of another"] if copies else []
    if shared:
        lines.append(f"duplicates: {shared:,} of {len(others):,} held-out images are also training images")
    return lines


def count_shared(some: list[bytes], among: list[bytes]) -> int:
    """Returns how many elements of `some` occur in `among`."""
    known = set(among)
    return sum(each in known for each in some)
