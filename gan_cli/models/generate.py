"""Seeds to latents to samples: the same seed is the same picture, in a training grid and from any checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from gan_cli.models.latents import Latent

OF_A_CLASS, SHOWN_CLASSES = 8, 32  # samples of each, and rows of a grid, where nobody says how many


def latents_of(seeds: Sequence[int], latent: Latent, truncation: float | None = None) -> Tensor:
    """`[len(seeds), latent.dim]`, each row drawn from its own seed; see `Latent.fill`."""
    latents, random = torch.empty(len(seeds), latent.dim), torch.Generator()
    for row, seed in zip(latents, seeds, strict=True):
        latent.fill(row, random.manual_seed(seed), truncation)
    return latents


def generate(
    generator: nn.Module,
    latent: Latent,
    seeds: Sequence[int],
    batch_size: int,
    truncation: float | None = None,
    conditions: Tensor | None = None,
) -> Iterator[Tensor]:
    """Batches of float32 samples on the CPU, the network as after training, in full precision.

    `conditions` `[len(seeds), K]` say what each is to be, None of an unconditional generator.
    """
    was_training = generator.training
    if was_training:  # else nothing is to be said to all its layers, which takes as long as some pictures
        generator.eval()
    try:
        for start in range(0, len(seeds), batch_size):
            latents = latents_of(seeds[start : start + batch_size], latent, truncation)
            yield respond(generator, latents, None if conditions is None else conditions[start : start + batch_size])
    finally:
        if was_training:
            generator.train()


def respond(generator: nn.Module, latents: Tensor, conditions: Tensor | None = None) -> Tensor:
    """What the network makes of `[N, dim]` and `[N, K]`, of all at once: float32 on the CPU, without a gradient."""
    device = next(generator.parameters()).device
    with torch.no_grad():
        return generator(latents.to(device), None if conditions is None else conditions.to(device)).float().cpu()
