"""The networks by name, and the section `architecture`."""

import dataclasses
from typing import Annotated, Any

from pydantic import Field

from gan_cli.config.options.fields import OneOf, section
from gan_cli.config.options.networks.basic import (
    DCGANDiscriminator,
    DCGANGenerator,
    MLPDiscriminator,
    MLPGenerator,
    ResNetDiscriminator,
    ResNetGenerator,
    SubpixelGenerator,
)
from gan_cli.config.options.networks.image_input import EDSRGenerator, PatchDiscriminator, UNetGenerator
from gan_cli.config.options.networks.published import (
    FastGANDiscriminator,
    FastGANGenerator,
    PGGANDiscriminator,
    PGGANGenerator,
    ProjectedDiscriminator,
    R3GANDiscriminator,
    R3GANGenerator,
    SRResNetDiscriminator,
    SRResNetGenerator,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
)

# these networks work at sides of 4 to 7 times a power of two
CONVOLUTIONAL = ("subpixel", "dcgan", "resnet", "r3gan", "fastgan", "pggan", "stylegan2", "srresnet")
FOR_IMAGES = (*CONVOLUTIONAL, "unet", "gated_unet", "edsr", "patch", "projected")  # points have no sides
GENERATOR_OPTIONS: dict[str, type] = {
    "subpixel": SubpixelGenerator,
    "dcgan": DCGANGenerator,
    "resnet": ResNetGenerator,
    "r3gan": R3GANGenerator,
    "fastgan": FastGANGenerator,
    "pggan": PGGANGenerator,
    "stylegan2": StyleGAN2Generator,
    "srresnet": SRResNetGenerator,
    "mlp": MLPGenerator,
    "unet": UNetGenerator,
    "gated_unet": UNetGenerator,
    "edsr": EDSRGenerator,
}
DISCRIMINATOR_OPTIONS: dict[str, type] = {
    "subpixel": DCGANDiscriminator,
    "dcgan": DCGANDiscriminator,
    "resnet": ResNetDiscriminator,
    "r3gan": R3GANDiscriminator,
    "fastgan": FastGANDiscriminator,
    "pggan": PGGANDiscriminator,
    "stylegan2": StyleGAN2Discriminator,
    "srresnet": SRResNetDiscriminator,
    "mlp": MLPDiscriminator,
    "patch": PatchDiscriminator,
    "projected": ProjectedDiscriminator,
}


@section
class ArchitectureOptions:
    """The section `architecture`."""

    generator: Annotated[Any, OneOf(GENERATOR_OPTIONS)] = Field(
        description="the network that generates samples from latents"
    )
    discriminator: Annotated[Any, OneOf(DISCRIMINATOR_OPTIONS)] = Field(
        description="the network that distinguishes real from fake"
    )


def networks_grow(architecture: Any) -> bool:
    """Returns whether both networks grow: both can, and neither has grow=false."""
    wishes = [getattr(section, "grow", False) for section in (architecture.generator, architecture.discriminator)]
    return False not in wishes


def settle_growth(section: Any, grows: bool) -> Any:
    """Returns the section of a network with `grows` as its key `grow`; unchanged if it has no such key."""
    return dataclasses.replace(section, grow=grows) if hasattr(section, "grow") else section
