"""Fully connected networks, as in the first GAN paper (Goodfellow et al., 1406.2661), with today's activations."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gan_cli.models.layers import build_normalization, output_activation, with_spectral


def _hidden_layers(inputs: int, width: int, depth: int, normalization: str, activation: nn.Module) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [
            with_spectral(nn.Linear(inputs, width), normalization),
            build_normalization(normalization, width, image=False),
            activation,
        ]
        inputs = width
    return nn.Sequential(*layers)


class MLPGenerator(nn.Module):
    """Latents `[N, latent_dim]` to samples `[N, *sample_shape]`: images in [-1, 1], points unbounded."""

    def __init__(
        self, sample_shape: tuple[int, ...], latent_dim: int, width: int, depth: int, normalization: str
    ) -> None:
        super().__init__()
        self.sample_shape, self.latent_dim = sample_shape, latent_dim
        self.hidden = _hidden_layers(latent_dim, width, depth, normalization, nn.ReLU())
        self.output = nn.Sequential(nn.Linear(width, math.prod(sample_shape)), output_activation(sample_shape))

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.output(self.hidden(latent)).unflatten(1, self.sample_shape)


class MLPDiscriminator(nn.Module):
    """Samples `[N, *sample_shape]` to logits `[N]`."""

    def __init__(self, sample_shape: tuple[int, ...], width: int, depth: int, normalization: str) -> None:
        super().__init__()
        self.hidden = _hidden_layers(math.prod(sample_shape), width, depth, normalization, nn.LeakyReLU(0.2))
        self.score = with_spectral(nn.Linear(width, 1), normalization)

    def forward(self, sample: Tensor, condition: Tensor | None = None) -> Tensor:
        return torch.squeeze(self.score(self.hidden(sample.flatten(1))), 1)
