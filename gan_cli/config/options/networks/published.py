"""The keys of the networks of papers: R3GAN, FastGAN, progressive growing, StyleGAN2, SRResNet, Projected GAN."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from gan_cli.config.options.fields import Bool, Integer, Number, section
from gan_cli.config.options.networks.network_keys import (
    BatchStatistics,
    BoundedChannels,
    Channels,
    DiscriminatorOptions,
    GeneratorOptions,
    ImageNormalization,
    Initialization,
    MaxMultiplier,
)


@section
class R3GANOptions:
    """The keys of both networks of R3GAN. Their initialization is their own."""

    base_channels: BoundedChannels
    max_multiplier: MaxMultiplier
    group_channels: Integer = Field(ge=1, le=512, description="least channels in a group of the 3x3 convolutions")
    blocks: Integer = Field(ge=1, le=16, description="residual blocks at each resolution")
    patch: Literal[1, 2, 4] = Field(
        1, description="side in pixels of the block that a position of the finest maps stands for; 1: as in the paper"
    )


@section
class R3GANGenerator(R3GANOptions, GeneratorOptions):
    bounded: ClassVar[bool] = False


@section
class R3GANDiscriminator(R3GANOptions, BatchStatistics):
    normalization: Literal["none"] = Field("none", description="none, since R3GAN's networks have no normalization")


@section
class FastGANOptions:
    """The keys of both networks of FastGAN."""

    initialization: Initialization = "default"
    base_channels: BoundedChannels
    max_multiplier: MaxMultiplier
    normalization: ImageNormalization = Field(
        description="normalization after each convolution but that next to pixels"
    )
    spectral: Bool = Field(
        False, description="whether all convolutions have spectral normalization too, as in the authors' code"
    )


@section
class FastGANGenerator(FastGANOptions, GeneratorOptions):
    pass


@section
class FastGANDiscriminator(FastGANOptions, BatchStatistics):
    reconstructs: ClassVar[bool] = True


@section
class PGGANOptions:
    """The keys of both networks of progressive growing. Their initialization is the equalized learning rate."""

    base_channels: BoundedChannels
    max_multiplier: MaxMultiplier
    grow: Literal["auto"] | Bool = Field(
        "auto",
        description="whether the resolution doubles at shares of the run, from 4 to 7 pixels on; auto: if both networks"
        " can and the other one is not set to false",
    )


@section
class PGGANGenerator(PGGANOptions, GeneratorOptions):
    bounded: ClassVar[bool] = False


@section
class PGGANDiscriminator(PGGANOptions, BatchStatistics):
    equalized: ClassVar[bool] = True
    normalization: Literal["none"] = Field("none", description="none, since the paper's D has no normalization")


@section
class StyleGAN2Options:
    """The keys of both networks of StyleGAN2. Their initialization is their own."""

    base_channels: BoundedChannels
    max_multiplier: MaxMultiplier


@section
class StyleGAN2Generator(StyleGAN2Options, GeneratorOptions):
    styles: ClassVar[bool] = True
    bounded: ClassVar[bool] = False
    mapping_layers: Literal["auto"] | Annotated[Integer, Field(ge=1, le=32)] = Field(
        "auto", description="layers of the mapping network; auto: 2 below 128 pixels, else 8"
    )
    style_mixing: Literal["auto"] | Annotated[Number, Field(ge=0, le=1)] = Field(
        "auto",
        description="share of samples with the styles of two latents in training; auto: 0 up to 32 pixels, else 0.9",
    )


@section
class StyleGAN2Discriminator(StyleGAN2Options, BatchStatistics):
    equalized: ClassVar[bool] = True
    residual: Literal["auto"] | Bool = Field(
        "auto", description="whether each level has a residual connection; auto: above 32 pixels"
    )
    normalization: Literal["none"] = Field("none", description="none, since StyleGAN2's D has no normalization")


@section
class SRResNetGenerator(GeneratorOptions):
    initialization: Initialization = "default"
    base_channels: Annotated[Channels, Field(description="channels of all feature maps")]
    blocks: Integer = Field(ge=1, le=64, description="number of residual blocks; 16 in the paper")
    normalization: ImageNormalization = Field(description="normalization after each convolution but the last")


@section
class SRResNetDiscriminator(BatchStatistics):
    initialization: Initialization = "default"
    base_channels: BoundedChannels
    max_multiplier: MaxMultiplier
    blocks: Integer = Field(
        ge=0, le=16, description="residual blocks between two halvings of the sides; 2 in the paper"
    )
    normalization: Literal["none", "spectral"] = Field("none", description="none, or spectral normalization of weights")


@section
class ProjectedDiscriminator(DiscriminatorOptions):
    """The keys of Projected GAN's discriminator."""

    classifies: ClassVar[bool] = False
    initialization: Initialization = "default"
    base_channels: BoundedChannels
    max_multiplier: MaxMultiplier
    normalization: ImageNormalization = Field(
        description="normalization of the heads' maps; their convolutions are always spectrally normalized"
    )
    least_side: Integer = Field(
        ge=32, le=512, description="images with a shorter side are enlarged to it, in pixels, for the frozen network"
    )
