"""Every random draw is a function of (seed, purpose, count): a resumed run draws what an unbroken one would."""

from __future__ import annotations

import hashlib

import torch


def derive_seed(seed: int, purpose: str, count: int = 0) -> int:
    """A 63-bit seed that differs for every (seed, purpose, count)."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{count}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator_for(seed: int, purpose: str, count: int = 0) -> torch.Generator:
    """A CPU generator for one draw; the CPU's, so that every device sees the same numbers."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, count))
