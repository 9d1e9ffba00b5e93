"""Generates samples from seeds. A seed gives the same sample in a training grid and from a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from gan_cli.errors import is_out_of_memory
from gan_cli.models.latents import LatentDistribution
from gan_cli.models.styles import with_truncation
from gan_cli.tasks.condition import Condition

SAMPLES_PER_CLASS = 8  # by default


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
    condition: Condition | None = None,
) -> Iterator[Tensor]:
    """Yields batches of float32 samples on the CPU, generated in evaluation mode and full precision.

    `truncation` is that of `with_truncation`. `condition` has a row for each seed; None for an unconditional generator.
    At the end the generator is set back to training mode if it was in training mode. Batches are smaller if there is
    too little memory.
    """
    network, truncation = with_truncation(generator, truncation)
    latents = latents_from_seeds(seeds, latent, truncation)
    was_training = generator.training
    if was_training:  # skip eval() otherwise: it visits all layers, which takes as long as some samples
        generator.eval()
    try:
        yield from run_in_batches(network, latents, condition, batch_size)
    finally:
        if was_training:
            generator.train()


def run_in_batches(
    generator: nn.Module, latents: Tensor, condition: Condition | None, batch_size: int
) -> Iterator[Tensor]:
    """Yields the outputs of the network in batches. If there is too little memory for one, halves the batch size."""
    start = 0
    while start < len(latents):
        size = min(batch_size, len(latents) - start)
        part = slice(start, start + size)
        try:
            samples = run_generator(generator, latents[part], None if condition is None else condition.rows(part))
        except (MemoryError, RuntimeError) as error:
            if size == 1 or not is_out_of_memory(error):
                raise
            batch_size = size // 2
            continue
        start += size
        yield samples
        del samples  # before the next batch needs memory


def run_generator(generator: nn.Module, latents: Tensor, condition: Condition | Tensor | None = None) -> Tensor:
    """Runs it on latents `[N, dim]` and a condition or labels without gradient; returns float32 on the CPU."""
    device = next(generator.parameters()).device
    with torch.no_grad():
        return generator(latents.to(device), None if condition is None else condition.to(device)).float().cpu()
