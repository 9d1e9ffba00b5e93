"""Pieces that the architectures share."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrizations

NORMALIZATIONS = ("none", "batch", "layer", "instance", "spectral")


def build_normalization(name: str, channels: int, *, image: bool) -> nn.Module:
    """The module that normalizes `[N, channels]` vectors, or `[N, channels, H, W]` maps if `image`.

    `none` and `spectral` give an identity: spectral normalization acts on weights (see `with_spectral`).
    """
    if name == "batch":
        return nn.BatchNorm2d(channels) if image else nn.BatchNorm1d(channels)
    if name == "layer":
        return nn.GroupNorm(1, channels)  # one group: over channels and space, as in WGAN-GP's critic
    if name == "instance" and image:
        return nn.InstanceNorm2d(channels, affine=True)
    if name in ("none", "spectral"):
        return nn.Identity()
    raise ValueError(f"no {name!r} normalization of {'images' if image else 'vectors'}")


def with_spectral(layer: nn.Module, normalization: str) -> nn.Module:
    """Divides the layer's weight by its largest singular value if `normalization` is `spectral` (1802.05957)."""
    return parametrizations.spectral_norm(layer) if normalization == "spectral" else layer


def output_activation(sample_shape: tuple[int, ...]) -> nn.Module:
    """Images end in tanh, in [-1, 1]; points are unbounded."""
    return nn.Tanh() if len(sample_shape) > 1 else nn.Identity()
