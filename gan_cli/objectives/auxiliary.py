"""Auxiliary losses of the generator, which are added to its adversarial loss.

The functions return unweighted values; `training/objective.py` resolves their weights and intervals.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss, normalize

from gan_cli.device import to_device
from gan_cli.distributed.batch_share import own, whole
from gan_cli.distributed.collectives import gathered, mean_over_processes
from gan_cli.models.freezing import frozen, without_statistics_updates
from gan_cli.models.imagenet import load_efficientnet
from gan_cli.models.latents import LatentDistribution
from gan_cli.models.networks.efficientnet import input_sides, resized
from gan_cli.tasks.condition import Condition

LEAST_SIDE = 64  # pixels of the images that the perceptual loss compares
PERCEPTUAL = "auxiliary=perceptual"
LENGTH_EPSILON = 1e-12  # keeps the derivative of a length finite at zero


class GeneratorPass(NamedTuple):
    """The arguments of an auxiliary loss.

    `fake` are samples `[N, C, H, W]` with gradient, and `condition` is theirs. `real` are the real images of the same
    conditions, None if no loss needs them. `random` is on the CPU. `state` has the scalars that losses keep, by the
    loss's name; only the losses change them.
    """

    fake: Tensor
    real: Tensor | None
    condition: Condition | None
    generator: Any
    discriminator: Any
    latent: LatentDistribution
    random: torch.Generator
    state: dict[str, dict[str, Tensor]]

    @property
    def truth(self) -> Tensor:
        assert self.real is not None
        return self.real


def pixel_l1(given: GeneratorPass) -> Tensor:
    """E|fake - real|, mean over pixels (pix2pix, 1611.07004, equation 3)."""
    return l1_loss(given.fake, given.truth)


def pixel_l2(given: GeneratorPass) -> Tensor:
    """E(fake - real)^2, mean over pixels."""
    return mse_loss(given.fake, given.truth)


def gradient_difference(given: GeneratorPass) -> Tensor:
    """E||dx fake| - |dx real|| + E||dy fake| - |dy real||, d the difference of neighbours (1511.05440, equation 7)."""
    total = torch.zeros((), device=given.fake.device)
    for axis in (2, 3):
        total = total + l1_loss(given.fake.diff(dim=axis).abs(), given.truth.diff(dim=axis).abs())
    return total


def feature_matching(given: GeneratorPass) -> Tensor:
    """E|F(fake) - F(real)| of D's feature maps F, mean over maps (pix2pixHD, 1711.11585, equation 4)."""
    maps = partial(given.discriminator.feature_maps, condition=given.condition)
    with frozen(given.discriminator):
        with torch.no_grad():
            real = maps(given.truth)
        fake = maps(given.fake)
    return torch.stack([l1_loss(one.float(), other.float()) for one, other in zip(fake, real, strict=True)]).mean()


def path_length(given: GeneratorPass, *, decay: float) -> Tensor:
    """E(|J^T y| - a)^2, J the derivative of images by styles, y ~ N(0, 1 / (H W)) (1912.04958, equation 4).

    The squared length is the mean over the layers' styles of |d(image y) / d(style)|^2, as in the authors' code. a is
    the moving mean of the lengths, including these, from 0 on: a <- decay a + (1 - decay) mean. Latents are new, half
    as many as the samples of the batch.
    """
    state, device = given.state["path_length"], given.fake.device
    half = slice(max(whole(len(given.fake)) // 2, 1))
    latents = own(given.latent.fill(torch.empty(half.stop, given.latent.dim), given.random))
    with without_statistics_updates(given.generator):
        condition = None if given.condition is None else given.condition.map(lambda part: own(gathered(part)[half]))
        styles = given.generator.map(to_device(latents, device), condition)
        images = given.generator.synthesize(styles)
    noise = to_device(own(torch.randn(whole(len(images)), *images.shape[1:], generator=given.random)), device)
    product = (images * noise).sum() / math.sqrt(images.shape[2] * images.shape[3])
    (gradient,) = torch.autograd.grad(product, styles, create_graph=True)
    lengths = gradient.square().sum(2).mean(1).add(LENGTH_EPSILON).sqrt()
    mean = torch.lerp(mean_over_processes(lengths.detach().mean()), state["mean"], decay)
    state["mean"] = mean
    return (lengths - mean).square().mean()


def perceptual(given: GeneratorPass) -> Tensor:
    """E|F(fake) - F(real)|^2 of unit vectors F along the channels of a frozen network's maps, mean over four maps.

    This is the distance of 1801.03924, equation 1, without learned weights, in EfficientNet-Lite0 (ImageNet). Images
    with a shorter side are enlarged to LEAST_SIDE.
    """
    network = load_efficientnet(PERCEPTUAL, given.fake.device)
    sides = input_sides(list(given.fake.shape[2:]), LEAST_SIDE)
    with torch.no_grad():
        real = network(resized(given.truth, sides))
    pairs = zip(network(resized(given.fake, sides)), real, strict=True)
    distances = [(normalize(one, dim=1) - normalize(other, dim=1)).square().sum(1).mean() for one, other in pairs]
    return torch.stack(distances).mean()


AUXILIARY: dict[str, Callable[..., Tensor]] = {
    "l1": pixel_l1,
    "l2": pixel_l2,
    "gradient_difference": gradient_difference,
    "feature_matching": feature_matching,
    "path_length": path_length,
    "perceptual": perceptual,
}
# the float32 scalars that a loss keeps; `value` is the loss when it was last due, for the log
AUXILIARY_STATE = {"path_length": ("mean", "value")}


class Auxiliary(NamedTuple):
    """A loss that is added to G's in the updates 0, `interval`, 2 `interval` ..., times its weight and the interval.

    `compute` returns the unweighted value.
    """

    name: str
    weight: float
    interval: int
    compute: Callable[[GeneratorPass], Tensor]


def build_auxiliary(name: str, options: Any) -> Auxiliary:
    """Returns the loss `name` with the values of its keys."""
    settings = dataclasses.asdict(options)
    weight, interval = settings.pop("weight"), settings.pop("every", 1)
    return Auxiliary(name, weight, interval, partial(AUXILIARY[name], **settings))
