"""What is searched for an image: latents z, styles w, or styles of each layer; their mean, spread and limits."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gan_cli.errors import UsageError
from gan_cli.models.generate import latents_from_seeds, run_in_batches
from gan_cli.models.latents import LatentDistribution
from gan_cli.models.styles import StyleGenerator
from gan_cli.sampling.given_latents import Mapping
from gan_cli.sampling.load_generator import LoadedGenerator
from gan_cli.tasks.condition import Condition

Z, W, W_PLUS = "z", "w", "w_plus"
MOST_DEVIATIONS = 4.0  # of a value of normal latents: one of 16,000 is beyond


class LatentSpace(NamedTuple):
    """The space that `gan-project` searches in: `name` is z, w or w_plus."""

    generator: LoadedGenerator
    name: str

    @property
    def latent(self) -> LatentDistribution:
        return self.generator.latent

    def of_seeds(self, seeds: range, labels: Tensor | None, batch_size: int) -> Tensor:
        """Returns what the seeds stand for in this space: z `[N, dim]`, w `[N, 1, D]`, or `[N, L, D]`, on the CPU."""
        latents = latents_from_seeds(seeds, self.latent)
        if self.name == Z:
            return latents
        network = self.generator.network
        assert isinstance(network, StyleGenerator)
        condition = None if labels is None else Condition(labels)
        styles = torch.cat(list(run_in_batches(Mapping(network), latents, condition, batch_size)))
        return styles[:, :1] if self.name == W else styles

    def mean(self) -> Tensor:
        """Returns the mean in this space, without the axis of samples."""
        network = self.generator.network
        if self.name == Z:
            return torch.zeros(self.latent.dim)
        assert isinstance(network, StyleGenerator)
        layers = 1 if self.name == W else len(network.sides)
        return network.mean_style.detach().cpu().expand(layers, -1).clone()

    def deviation(self, values: Tensor) -> float:
        """Returns the standard deviation of a number around the mean: that of the distribution, or of `values`."""
        if self.name == Z:
            return 1 / math.sqrt(3) if self.latent.distribution == "uniform" else 1.0
        return (values - self.mean()).square().mean().sqrt().clamp_min(1e-6).item()

    def limit(self) -> float:
        """Returns the largest absolute value of a latent; infinite for styles."""
        if self.name != Z:
            return math.inf
        return 1.0 if self.latent.distribution == "uniform" else MOST_DEVIATIONS

    def network_input(self, values: Tensor) -> Tensor:
        """Returns latents `[N, dim]`, or styles `[N, L, D]` of all layers."""
        if self.name != W:
            return values
        assert isinstance(self.generator.network, StyleGenerator)
        return values.expand(-1, len(self.generator.network.sides), -1)


def find_space(generator: LoadedGenerator, name: str) -> LatentSpace:
    """Returns the space called `name`; auto is w if there is one. Raises UsageError if the generator has no styles."""
    styled = isinstance(generator.network, StyleGenerator)
    if name == "auto":
        name = W if styled else Z
    if name != Z and not styled:
        raise UsageError(f"space={name}: this generator has no styles w; use space=z")
    return LatentSpace(generator, name)
