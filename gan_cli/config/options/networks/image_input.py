"""The keys of generators that make an image from an image, and of the discriminator of patches."""

from typing import Annotated, ClassVar

from pydantic import Field

from gan_cli.config.options.fields import Integer, section
from gan_cli.config.options.networks.network_keys import (
    BoundedChannels,
    Channels,
    DiscriminatorOptions,
    DoubledChannels,
    GeneratorOptions,
    ImageNormalization,
    Initialization,
    MaxMultiplier,
)

Levels = Annotated[Integer, Field(ge=1, le=8, description="how often the sides are halved")]


@section
class FromImageOptions(GeneratorOptions):
    """The keys of every generator that makes an image from an image. It needs no latent."""

    condition_parts: ClassVar[frozenset[str]] = frozenset({"labels", "image"})
    latent_dim: Integer = Field(ge=0, le=4096, description="size of the latent vector; 0: one result for each image")
    initialization: Initialization = "default"


@section
class UNetGenerator(FromImageOptions):
    """The generators `unet` and `gated_unet`."""

    condition_parts: ClassVar[frozenset[str]] = frozenset({"labels", "image", "mask"})
    base_channels: BoundedChannels
    max_multiplier: MaxMultiplier
    levels: Levels
    normalization: ImageNormalization = Field(description="normalization after each convolution but the last")


@section
class EDSRGenerator(FromImageOptions):
    condition_parts: ClassVar[frozenset[str]] = frozenset({"image"})
    enlarges: ClassVar[bool] = True
    bounded: ClassVar[bool] = False
    base_channels: Annotated[Channels, Field(description="channels of all feature maps")]
    blocks: Integer = Field(ge=1, le=64, description="number of residual blocks")


@section
class PatchDiscriminator(DiscriminatorOptions):
    classifies: ClassVar[bool] = False
    initialization: Initialization = "default"
    base_channels: DoubledChannels
    levels: Levels
    normalization: ImageNormalization = Field(description="normalization after each layer but the first")
