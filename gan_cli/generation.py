"""Seeds to latents to samples: the same seed is the same picture, in a training grid and from any checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn


def latents_of(seeds: Sequence[int], latent_dim: int, truncation: float | None = None) -> Tensor:
    """Standard normal `[len(seeds), latent_dim]`, each row drawn on the CPU from its own seed.

    `truncation` draws from the normal distribution cut off at that many standard deviations (1809.11096, section 3.1).
    """
    return torch.stack([_latent_of(seed, latent_dim, truncation) for seed in seeds])


def _latent_of(seed: int, latent_dim: int, truncation: float | None) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    if truncation is None:
        return torch.randn(latent_dim, generator=random)
    return nn.init.trunc_normal_(torch.empty(latent_dim), a=-truncation, b=truncation, generator=random)


def generate(
    generator: nn.Module, seeds: Sequence[int], batch_size: int, truncation: float | None = None
) -> Iterator[Tensor]:
    """Batches of float32 samples on the CPU, the network as after training, in full precision."""
    device = next(generator.parameters()).device
    latent_dim = int(generator.latent_dim)  # type: ignore[arg-type]  # nn.Module types no attribute of its own
    was_training = generator.training
    generator.eval()
    try:
        for start in range(0, len(seeds), batch_size):
            latents = latents_of(seeds[start : start + batch_size], latent_dim, truncation)
            with torch.no_grad():
                yield generator(latents.to(device), None).float().cpu()
    finally:
        generator.train(was_training)
