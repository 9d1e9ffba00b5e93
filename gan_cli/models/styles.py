"""Generators with a mapping network, which computes styles from latents (Karras et al., 1812.04948)."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from gan_cli.tasks.condition import Condition


class StyleGenerator(nn.Module, ABC):
    """Base class of generators that first map latents to styles w, and then synthesize images from the styles."""

    sides: tuple[int, ...]  # for each style, coarsest first: the larger side of the maps that it modulates
    mean_style: Tensor  # buffer `[D]`: moving mean of w in training mode, towards which truncation moves styles
    track_running_stats = True  # False: `mean_style` is not updated; named as in batch normalization

    @abstractmethod
    def map(self, latent: Tensor, condition: Condition | None = None) -> Tensor:
        """Returns the styles `[N, len(sides), D]` of latents `[N, latent_dim]`; all the same for one latent."""

    @abstractmethod
    def synthesize(self, styles: Tensor) -> Tensor:
        """Returns images `[N, C, H, W]`, of which -1 is black and 1 white, from styles `[N, len(sides), D]`."""

    def truncate(self, styles: Tensor, factor: float) -> Tensor:
        """Moves styles towards their mean: w' = mean + factor (w - mean) (1812.04948, appendix B)."""
        return self.mean_style + factor * (styles - self.mean_style)


class TruncatedGenerator(nn.Module):
    """A generator whose styles are moved towards their mean before it synthesizes images."""

    def __init__(self, generator: StyleGenerator, factor: float) -> None:
        super().__init__()
        self.generator, self.factor = generator, factor

    def forward(self, latent: Tensor, condition: Condition | None = None) -> Tensor:
        styles = self.generator.map(latent, condition)
        return self.generator.synthesize(self.generator.truncate(styles, self.factor))


def with_truncation(generator: nn.Module, truncation: float | None) -> tuple[nn.Module, float | None]:
    """Returns the network that makes truncated samples, and the truncation of the latents that it is given.

    Generators with styles get full latents, and others truncated ones (see `LatentDistribution.fill`).
    """
    if truncation is not None and isinstance(generator, StyleGenerator):
        return TruncatedGenerator(generator, truncation), None
    return generator, truncation
