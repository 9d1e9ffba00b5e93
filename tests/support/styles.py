"""A small generator with styles, and a run with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_cli.config.options.networks.architectures import GENERATOR_OPTIONS
from gan_cli.config.options.networks.network_keys import GeneratorOptions
from gan_cli.models.conditioning import UNCONDITIONAL, ConditioningSpec, concat_condition
from gan_cli.models.registry import GENERATORS
from gan_cli.models.styles import StyleGenerator
from gan_cli.tasks.condition import Condition
from support.commands import write_text
from support.configs import TINY_IMAGES, without

STYLE_SIZE = 6
SIDES = (4, 4, 8, 16)


class ToyStyles(StyleGenerator):
    """One linear layer maps latents to styles. An image is a sum of layers, each a linear function of its style."""

    def __init__(
        self, sample_shape: tuple[int, ...], latent_dim: int, conditions: ConditioningSpec = UNCONDITIONAL
    ) -> None:
        super().__init__()
        self.sample_shape, self.sides = sample_shape, SIDES
        self.entry = concat_condition(conditions, ("concat", "acgan"))
        self.mapping = nn.Linear(latent_dim + self.entry.added_features, STYLE_SIZE)
        self.layers = nn.ModuleList(nn.Linear(STYLE_SIZE, sample_shape[0] * side**2) for side in SIDES)
        self.register_buffer("mean_style", torch.zeros(STYLE_SIZE))

    def map(self, latent: Tensor, condition: Condition | None = None) -> Tensor:
        return self.mapping(self.entry(latent, condition)).unsqueeze(1).repeat(1, len(self.sides), 1)

    def synthesize(self, styles: Tensor) -> Tensor:
        channels, height, width = self.sample_shape
        parts = []
        for number, (layer, side) in enumerate(zip(self.layers, self.sides, strict=True)):
            maps = layer(styles[:, number]).view(-1, channels, side, side)
            parts.append(nn.functional.interpolate(maps, (height, width), mode="bilinear"))
        return torch.tanh(torch.stack(parts).sum(0) / 2)

    def forward(self, latent: Tensor, condition: Condition | None = None) -> Tensor:
        return self.synthesize(self.map(latent, condition))


def train_toy(train: Callable[..., Path], here: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> Path:
    """Trains a run with this generator, which gets the name `toy_styles`, for a step."""
    network: Any = ToyStyles
    monkeypatch.setitem(GENERATOR_OPTIONS, "toy_styles", GeneratorOptions)
    monkeypatch.setitem(GENERATORS, "toy_styles", network)
    write_text(here / "configs/architecture/generator/toy_styles.yaml", "name: toy_styles\nlatent_dim: 8\n")
    tiny = without(TINY_IMAGES, "architecture.generator")
    return train("architecture/generator=toy_styles", *tiny, "steps=1", "name=styles", *overrides)
