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
        """Returns images `[N, C, H, W]` in [-1, 1] from styles `[N, len(sides), D]`."""

    def truncate(self, styles: Tensor, factor: float) -> Tensor:
        """Moves styles towards their mean: w' = mean + factor (w - mean) (1812.04948, appendix B)."""
        return self.mean_style + factor * (styles - self.mean_style)
