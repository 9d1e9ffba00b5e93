"""Generators and discriminators: modules that know tensors only."""

from collections.abc import Callable

from torch import nn

from gan_cli.models.dcgan import DCGANDiscriminator, DCGANGenerator
from gan_cli.models.mlp import MLPDiscriminator, MLPGenerator
from gan_cli.models.resnet import ResNetDiscriminator, ResNetGenerator
from gan_cli.models.subpixel import SubpixelDiscriminator, SubpixelGenerator

GENERATORS: dict[str, Callable[..., nn.Module]] = {
    "subpixel": SubpixelGenerator,
    "dcgan": DCGANGenerator,
    "resnet": ResNetGenerator,
    "mlp": MLPGenerator,
}
DISCRIMINATORS: dict[str, Callable[..., nn.Module]] = {
    "subpixel": SubpixelDiscriminator,
    "dcgan": DCGANDiscriminator,
    "resnet": ResNetDiscriminator,
    "mlp": MLPDiscriminator,
}
