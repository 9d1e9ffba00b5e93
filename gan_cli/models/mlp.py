"""Fully connected networks, as in the first GAN paper (Goodfellow et al., 1406.2661), with today's activations."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gan_cli.models.layers import build_dropout, build_minibatch, build_normalization, output_activation, weighted


def _hidden_layers(
    inputs: int, width: int, depth: int, activation: nn.Module, normalization: str, initialization: str, dropout: float
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [
            weighted(nn.Linear(inputs, width), initialization=initialization, normalization=normalization),
            build_normalization(normalization, width, image=False),
            activation,
            *build_dropout(dropout),
        ]
        inputs = width
    return nn.Sequential(*layers)


class MLPGenerator(nn.Module):
    """Latents `[N, latent_dim]` to samples `[N, *sample_shape]`: images in [-1, 1], points unbounded."""

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        latent_dim: int,
        width: int,
        depth: int,
        normalization: str,
        initialization: str = "default",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.sample_shape = sample_shape
        self.hidden = _hidden_layers(latent_dim, width, depth, nn.ReLU(), normalization, initialization, dropout)
        output = weighted(nn.Linear(width, math.prod(sample_shape)), initialization=initialization)
        self.output = nn.Sequential(output, output_activation(sample_shape))

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.output(self.hidden(latent)).unflatten(1, self.sample_shape)


class MLPDiscriminator(nn.Module):
    """Samples `[N, *sample_shape]` to logits `[N]`."""

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        width: int,
        depth: int,
        normalization: str,
        initialization: str = "default",
        dropout: float = 0.0,
        minibatch: str = "none",
    ) -> None:
        super().__init__()
        inputs = math.prod(sample_shape)
        self.hidden = _hidden_layers(inputs, width, depth, nn.LeakyReLU(0.2), normalization, initialization, dropout)
        self.beside, added = build_minibatch(minibatch, width)
        score = nn.Linear(width + added, 1)
        self.score = weighted(score, initialization=initialization, normalization=normalization)

    def forward(self, sample: Tensor, condition: Tensor | None = None) -> Tensor:
        return torch.squeeze(self.score(self.beside(self.hidden(sample.flatten(1)))), 1)
