"""Two moons, a generator with sines and a smooth hinge: what `plugins=[example]` adds to gan-cli."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus

from gan_cli.config.options.datasets import PointOptions
from gan_cli.config.options.fields import Integer, Number, section
from gan_cli.config.options.networks import GeneratorOptions
from gan_cli.config.options.objectives import LossOptions
from gan_cli.config.plugin import Part, Plugin
from gan_cli.data.dataset import SEEDS, Dataset
from gan_cli.objectives.losses import Loss

# --- a data set --------------------------------------------------------------------------------------------------


@section
class Moons(PointOptions):
    std: Number = Field(ge=0, le=1, description="standard deviation of the noise")


def build_moons(*, image_size: None, size: int, std: float, split: str) -> Dataset:
    """`size` points `[size, 2]` on two half circles that reach into each other."""
    random = torch.Generator().manual_seed(SEEDS[split])
    labels = torch.arange(size) % 2
    angle = math.pi * torch.rand(size, generator=random)
    upper = torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], dim=1)
    points = torch.where(labels.unsqueeze(1) == 0, upper, -upper)
    noise = std * torch.randn(size, 2, generator=random)
    return Dataset(samples=points + noise, labels=labels, classes=("upper", "lower"), source="drawn by the example")


# --- a network ---------------------------------------------------------------------------------------------------


@section
class Sine(GeneratorOptions):
    width: Integer = Field(ge=1, le=8192, description="units of the hidden layer")


class SineGenerator(nn.Module):
    """Latents `[N, latent_dim]` to points `[N, D]`."""

    def __init__(self, sample_shape: tuple[int, ...], latent_dim: int, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(latent_dim, width), nn.Linear(width, width)
        self.last = nn.Linear(width, math.prod(sample_shape))
        self.sample_shape = sample_shape

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        hidden = torch.sin(self.second(torch.sin(self.first(latent))))
        return self.last(hidden).unflatten(1, self.sample_shape)


# --- a loss ------------------------------------------------------------------------------------------------------


def soft_hinge_discriminator(*, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """softplus(1 - D(x)) + softplus(1 + D(G(z)))."""
    return softplus(1 - real_logits).mean() + softplus(1 + fake_logits).mean()


def soft_hinge_generator(*, fake_logits: Tensor) -> Tensor:
    """-D(G(z))."""
    return -fake_logits.mean()


plugin = Plugin(
    configs=Path(__file__).with_name("configs"),
    datasets={"moons": Part(Moons, build_moons)},
    generators={"sine": Part(Sine, SineGenerator)},
    losses={"soft_hinge": Part(LossOptions, Loss(soft_hinge_discriminator, soft_hinge_generator))},
)
