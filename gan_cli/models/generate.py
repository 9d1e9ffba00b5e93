"""Generates samples from seeds. A seed gives the same sample in a training grid and from a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from gan_cli.models.latents import LatentDistribution

SAMPLES_PER_CLASS, MAX_CLASSES_SHOWN = 8, 32  # default samples of each class, and the most classes (rows) of a grid


def latents_from_seeds(seeds: Sequence[int], latent: LatentDistribution, truncation: float | None = None) -> Tensor:
    """Returns latents `[len(seeds), latent.dim]`, each drawn from its seed. For `truncation` see `latent.fill`."""
    latents, random = torch.empty(len(seeds), latent.dim), torch.Generator()
    for row, seed in zip(latents, seeds, strict=True):
        latent.fill(row, random.manual_seed(seed), truncation)
    return latents


def generate(
    generator: nn.Module,
    latent: LatentDistribution,
    seeds: Sequence[int],
    batch_size: int,
    truncation: float | None = None,
    conditions: Tensor | None = None,
) -> Iterator[Tensor]:
    """Yields batches of float32 samples on the CPU, generated in evaluation mode and full precision.

    `conditions` has the shape `[len(seeds), K]`; None for an unconditional generator. At the end the generator is set
    back to training mode if it was in training mode.
    """
    was_training = generator.training
    if was_training:  # skip eval() otherwise: it visits all layers, which takes as long as some samples
        generator.eval()
    try:
        for start in range(0, len(seeds), batch_size):
            latents = latents_from_seeds(seeds[start : start + batch_size], latent, truncation)
            part = None if conditions is None else conditions[start : start + batch_size]
            yield run_generator(generator, latents, part)
    finally:
        if was_training:
            generator.train()


def run_generator(generator: nn.Module, latents: Tensor, conditions: Tensor | None = None) -> Tensor:
    """Runs the network on latents `[N, dim]` and conditions `[N, K]` without gradient; returns float32 on the CPU."""
    device = next(generator.parameters()).device
    with torch.no_grad():
        return generator(latents.to(device), None if conditions is None else conditions.to(device)).float().cpu()
