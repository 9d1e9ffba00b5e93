"""Random draws as functions of (seed, purpose, count), so that a resumed run equals an uninterrupted one."""

from __future__ import annotations

import hashlib

import torch


def derive_seed(seed: int, purpose: str, count: int = 0) -> int:
    """Returns a 63-bit seed for (seed, purpose, count)."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{count}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator_for(seed: int, purpose: str, count: int = 0) -> torch.Generator:
    """Returns a CPU generator for one draw. Always the CPU, so that every device gets the same numbers."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, count))
