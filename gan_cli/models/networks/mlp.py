"""Fully connected networks, as in the first GAN paper (Goodfellow et al., 1406.2661), with ReLU and leaky ReLU."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from gan_cli.models.conditioning import (
    CONCATENATED,
    UNCONDITIONAL,
    ConditionalSequential,
    ConditioningSpec,
    concat_condition,
    conditional_norm,
)
from gan_cli.models.layers import Discriminator, build_dropout, build_normalization, init_layer
from gan_cli.tasks.condition import Condition


def _hidden_layers(
    inputs: int,
    width: int,
    depth: int,
    activation: nn.Module,
    normalization: str,
    initialization: str,
    dropout: float,
    conditions: ConditioningSpec = UNCONDITIONAL,
) -> ConditionalSequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [
            init_layer(nn.Linear(inputs, width), initialization=initialization, normalization=normalization),
            conditional_norm(build_normalization(normalization, width, image=False), width, conditions),
            activation,
            *build_dropout(dropout),
        ]
        inputs = width
    return ConditionalSequential(*layers)


class MLPGenerator(nn.Module):
    """Maps latents `[N, latent_dim]` to samples `[N, *sample_shape]`: images in [-1, 1], points unbounded."""

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        latent_dim: int,
        width: int,
        depth: int,
        normalization: str,
        initialization: str = "default",
        dropout: float = 0.0,
        conditions: ConditioningSpec = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        self.sample_shape = sample_shape
        self.entry = concat_condition(conditions, CONCATENATED)
        inputs = latent_dim + self.entry.added_features
        self.hidden = _hidden_layers(
            inputs, width, depth, nn.ReLU(), normalization, initialization, dropout, conditions
        )
        output = init_layer(nn.Linear(width, math.prod(sample_shape)), initialization=initialization)
        self.output = nn.Sequential(output, nn.Tanh() if len(sample_shape) > 1 else nn.Identity())

    def forward(self, latent: Tensor, condition: Condition | None = None) -> Tensor:
        return self.output(self.hidden(self.entry(latent, condition), condition)).unflatten(1, self.sample_shape)


class MLPDiscriminator(Discriminator):
    """Maps samples `[N, *sample_shape]` to logits `[N]`."""

    batch_dependence_is_declared = True

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        width: int,
        depth: int,
        normalization: str,
        initialization: str = "default",
        dropout: float = 0.0,
        minibatch: str = "none",
        conditions: ConditioningSpec = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        self.entry = concat_condition(conditions, ("concat",))
        inputs = math.prod(sample_shape) + self.entry.added_features
        self.hidden = _hidden_layers(inputs, width, depth, nn.LeakyReLU(0.2), normalization, initialization, dropout)
        settings: Any = {"initialization": initialization, "normalization": normalization}
        self.add_head(width, minibatch=minibatch, conditions=conditions, **settings)

    def features(self, sample: Tensor, condition: Condition | None) -> Tensor:
        return self.hidden(self.entry(sample.flatten(1), condition))
