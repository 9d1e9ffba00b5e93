"""The keys of the basic networks: perceptrons, DCGAN, sub-pixel convolutions, residual networks."""

from typing import ClassVar, Literal

from pydantic import Field

from gan_cli.config.options.fields import Integer, section
from gan_cli.config.options.networks.network_keys import (
    BatchStatistics,
    BoundedChannels,
    DoubledChannels,
    Dropout,
    GeneratorOptions,
    ImageNormalization,
    Initialization,
    MaxMultiplier,
    VectorNormalization,
)


@section
class MLPOptions:
    """The keys of both MLPs."""

    initialization: Initialization = "default"
    width: Integer = Field(ge=1, le=8192, description="units of a hidden layer")
    depth: Integer = Field(ge=1, le=32, description="number of hidden layers")
    normalization: VectorNormalization = Field(description="normalization after each hidden layer")
    dropout: Dropout = 0.0


@section
class MLPGenerator(MLPOptions, GeneratorOptions):
    pass


@section
class MLPDiscriminator(MLPOptions, BatchStatistics):
    pass


@section
class DCGANGenerator(GeneratorOptions):
    initialization: Initialization = "default"
    base_channels: DoubledChannels
    normalization: ImageNormalization = Field(description="normalization after each layer but the last")
    dropout: Dropout = 0.0


@section
class DCGANDiscriminator(BatchStatistics):
    """The discriminators `dcgan` and `subpixel`."""

    initialization: Initialization = "default"
    base_channels: DoubledChannels
    normalization: ImageNormalization = Field(description="normalization after each layer but the first")
    dropout: Dropout = 0.0


@section
class SubpixelGenerator(GeneratorOptions):
    output: Literal["unfolded", "blurred"] = Field(
        "unfolded",
        description="unfolded: 4 x 4 pixels from each position of the finest map; blurred: 2 x 2 pixels from a map of"
        " half the image's sides, then blurred, which avoids checkerboard patterns",
    )
    initialization: Initialization = "default"
    base_channels: BoundedChannels
    max_multiplier: MaxMultiplier = 8
    normalization: ImageNormalization = Field(description="normalization after each layer but the last")
    dropout: Dropout = 0.0


@section
class ResNetOptions:
    """The keys of both residual networks."""

    initialization: Initialization = "default"
    base_channels: BoundedChannels
    max_multiplier: MaxMultiplier
    normalization: ImageNormalization = Field(description="normalization before each convolution of a block")
    attention: Integer | None = Field(
        ge=1,
        le=256,
        description="height in pixels of the feature maps with self-attention (1805.08318); none unless set",
    )


@section
class ResNetGenerator(ResNetOptions, GeneratorOptions):
    pass


@section
class ResNetDiscriminator(ResNetOptions, BatchStatistics):
    feature_maps: ClassVar[bool] = False  # its activations are functions, not layers
    pooling: Literal["sum", "mean"] = Field(description="pooling of the last feature maps over space")
