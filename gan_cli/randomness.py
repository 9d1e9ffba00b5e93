"""Derives each random draw from (seed, purpose, count) only, so that a resumed run equals an uninterrupted run."""

from __future__ import annotations

import hashlib

import torch


def derive_seed(seed: int, purpose: str, count: int = 0) -> int:
    """Returns a seed from 0 to 2**63 - 1 that depends on `seed`, `purpose` and `count` only."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{count}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator_for(seed: int, purpose: str, count: int = 0) -> torch.Generator:
    """Returns a generator for one draw. It is always on the CPU, so that every device gets the same numbers."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, count))
