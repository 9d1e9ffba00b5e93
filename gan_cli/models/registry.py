"""Generators and discriminators by name. Networks work on tensors only and read no config."""

from collections.abc import Callable

from torch import nn

from gan_cli.models.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from gan_cli.models.networks.edsr import EDSRGenerator
from gan_cli.models.networks.fastgan import FastGANDiscriminator, FastGANGenerator
from gan_cli.models.networks.mlp import MLPDiscriminator, MLPGenerator
from gan_cli.models.networks.patch import PatchDiscriminator
from gan_cli.models.networks.pggan import PGGANDiscriminator, PGGANGenerator
from gan_cli.models.networks.projected import ProjectedDiscriminator
from gan_cli.models.networks.r3gan import R3GANDiscriminator, R3GANGenerator
from gan_cli.models.networks.resnet import ResNetDiscriminator, ResNetGenerator
from gan_cli.models.networks.srresnet import SRResNetDiscriminator, SRResNetGenerator
from gan_cli.models.networks.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from gan_cli.models.networks.subpixel import SubpixelDiscriminator, SubpixelGenerator
from gan_cli.models.networks.unet import GatedUNetGenerator, UNetGenerator

GENERATORS: dict[str, Callable[..., nn.Module]] = {
    "subpixel": SubpixelGenerator,
    "dcgan": DCGANGenerator,
    "resnet": ResNetGenerator,
    "r3gan": R3GANGenerator,
    "fastgan": FastGANGenerator,
    "stylegan2": StyleGAN2Generator,
    "pggan": PGGANGenerator,
    "srresnet": SRResNetGenerator,
    "mlp": MLPGenerator,
    "unet": UNetGenerator,
    "gated_unet": GatedUNetGenerator,
    "edsr": EDSRGenerator,
}
DISCRIMINATORS: dict[str, Callable[..., nn.Module]] = {
    "subpixel": SubpixelDiscriminator,
    "dcgan": DCGANDiscriminator,
    "resnet": ResNetDiscriminator,
    "r3gan": R3GANDiscriminator,
    "fastgan": FastGANDiscriminator,
    "stylegan2": StyleGAN2Discriminator,
    "pggan": PGGANDiscriminator,
    "srresnet": SRResNetDiscriminator,
    "mlp": MLPDiscriminator,
    "patch": PatchDiscriminator,
    "projected": ProjectedDiscriminator,
}
