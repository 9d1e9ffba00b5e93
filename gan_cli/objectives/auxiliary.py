"""Auxiliary losses of the generator: distances of its samples to the real images of the same conditions.

The functions return unweighted values; `training/objective.py` resolves their weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss, normalize

from gan_cli.models.imagenet import load_efficientnet
from gan_cli.models.networks.efficientnet import input_sides, resized

LEAST_SIDE = 64  # pixels of the images that the perceptual loss compares
PERCEPTUAL = "auxiliary=perceptual"


class GeneratorPass(NamedTuple):
    """The arguments of an auxiliary loss.

    `fake` are samples `[N, C, H, W]` with gradient, `real` the real images of the same conditions. `feature_maps`
    returns the frozen D's inner feature maps of samples.
    """

    fake: Tensor
    real: Tensor
    feature_maps: Callable[[Tensor], list[Tensor]]


def pixel_l1(given: GeneratorPass) -> Tensor:
    """E|fake - real|, mean over pixels (pix2pix, 1611.07004, equation 3)."""
    return l1_loss(given.fake, given.real)


def pixel_l2(given: GeneratorPass) -> Tensor:
    """E(fake - real)^2, mean over pixels."""
    return mse_loss(given.fake, given.real)


def gradient_difference(given: GeneratorPass) -> Tensor:
    """E||dx fake| - |dx real|| + E||dy fake| - |dy real||, d the difference of neighbours (1511.05440, equation 7)."""
    total = torch.zeros((), device=given.fake.device)
    for axis in (2, 3):
        total = total + l1_loss(given.fake.diff(dim=axis).abs(), given.real.diff(dim=axis).abs())
    return total


def feature_matching(given: GeneratorPass) -> Tensor:
    """E|F(fake) - F(real)| of D's feature maps F, mean over maps (pix2pixHD, 1711.11585, equation 4)."""
    with torch.no_grad():
        real = given.feature_maps(given.real)
    fake = given.feature_maps(given.fake)
    return torch.stack([l1_loss(one.float(), other.float()) for one, other in zip(fake, real, strict=True)]).mean()


def perceptual(given: GeneratorPass) -> Tensor:
    """E|F(fake) - F(real)|^2 of unit vectors F along the channels of a frozen network's maps, mean over four maps.

    This is the distance of 1801.03924, equation 1, without learned weights, in EfficientNet-Lite0 (ImageNet). Images
    with a shorter side are enlarged to LEAST_SIDE.
    """
    network = load_efficientnet(PERCEPTUAL, given.fake.device)
    sides = input_sides(list(given.fake.shape[2:]), LEAST_SIDE)
    with torch.no_grad():
        real = network(resized(given.real, sides))
    pairs = zip(network(resized(given.fake, sides)), real, strict=True)
    distances = [(normalize(one, dim=1) - normalize(other, dim=1)).square().sum(1).mean() for one, other in pairs]
    return torch.stack(distances).mean()


AUXILIARY: dict[str, Callable[[GeneratorPass], Tensor]] = {
    "l1": pixel_l1,
    "l2": pixel_l2,
    "gradient_difference": gradient_difference,
    "feature_matching": feature_matching,
    "perceptual": perceptual,
}
