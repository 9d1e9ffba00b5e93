"""Options of the groups `architecture/generator` and `architecture/discriminator`: the keys of each network."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from gan_cli.config.options.fields import Bool, Integer, Number, OneOf, OptionName, section

# No instance and pixel norm for vectors: a single value has no statistics.
VectorNormalization = Literal["none", "batch", "layer", "spectral"]
ImageNormalization = Literal["none", "batch", "layer", "instance", "pixel", "spectral"]
Initialization = Annotated[
    Literal["default", "normal", "xavier", "orthogonal"],
    Field(
        description="initialization of the weights: PyTorch's default, normal with standard deviation 0.02, xavier or"
        " orthogonal"
    ),
]
Dropout = Annotated[Number, Field(ge=0, lt=1, description="share of a hidden layer's outputs set to zero in training")]
Channels = Annotated[Integer, Field(ge=1, le=512)]
DoubledChannels = Annotated[
    Channels, Field(description="channels at the finest resolution; twice as many at each coarser one")
]
BoundedChannels = Annotated[Channels, Field(description="channels at the finest resolution; see max_multiplier")]
MaxMultiplier = Annotated[
    Integer,
    Field(
        ge=1,
        le=64,
        description="channels double at coarser resolutions, up to this many times base_channels; 1: constant",
    ),
]
# these networks work at sides of 4 to 7 times a power of two
CONVOLUTIONAL = ("subpixel", "dcgan", "resnet", "r3gan", "fastgan", "pggan", "stylegan2", "srresnet")
FOR_IMAGES = (*CONVOLUTIONAL, "unet", "gated_unet", "edsr", "patch", "projected")  # points have no sides


@section
class GeneratorOptions:
    """The keys of every generator. `condition_parts` names the parts of a condition that the network uses.

    `enlarges` says whether it makes a larger image than the condition's, and `styles` whether it has a mapping network,
    which `auxiliary=path_length` needs.
    """

    condition_parts: ClassVar[frozenset[str]] = frozenset({"labels"})
    enlarges: ClassVar[bool] = False
    styles: ClassVar[bool] = False
    name: OptionName
    latent_dim: Integer = Field(ge=1, le=4096, description="size of the latent vector")
    latent: Literal["normal", "uniform"] = Field(
        "normal", description="distribution of latents: standard normal, or uniform in -1 to 1"
    )


@section
class DiscriminatorOptions:
    """The keys of every discriminator. `feature_maps` says whether it shows its inner feature maps.

    `classifies` says whether it has class logits, which `conditioning=acgan` needs, and `reconstructs` whether it has
    decoders, which `regularizer=reconstruction` needs.
    """

    feature_maps: ClassVar[bool] = True
    classifies: ClassVar[bool] = True
    reconstructs: ClassVar[bool] = False
    name: OptionName


@section
class BatchStatistics(DiscriminatorOptions):
    """The key of every discriminator of this package."""

    minibatch: Literal["none", "stddev", "deviations", "discrimination"] = Field(
        "none",
        description="batch statistics that D gets as features: standard deviation (stddev, 1710.10196), that of learned"
        " projections (deviations), or distances of learned projections (discrimination, 1606.03498)",
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
    pass


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
    grow: Bool = Field(
        False,
        description="whether the resolution doubles at shares of the run, from 4 to 7 pixels on; the same in both"
        " networks",
    )


@section
class PGGANGenerator(PGGANOptions, GeneratorOptions):
    pass


@section
class PGGANDiscriminator(PGGANOptions, BatchStatistics):
    normalization: Literal["none"] = Field("none", description="none, since the paper's D has no normalization")


@section
class StyleGAN2Options:
    """The keys of both networks of StyleGAN2. Their initialization is their own."""

    base_channels: BoundedChannels
    max_multiplier: MaxMultiplier


@section
class StyleGAN2Generator(StyleGAN2Options, GeneratorOptions):
    styles: ClassVar[bool] = True
    mapping_layers: Literal["auto"] | Annotated[Integer, Field(ge=1, le=32)] = Field(
        "auto", description="layers of the mapping network; auto: 2 below 128 pixels, else 8"
    )
    style_mixing: Literal["auto"] | Annotated[Number, Field(ge=0, le=1)] = Field(
        "auto",
        description="share of samples with the styles of two latents in training; auto: 0 below 128 pixels, else 0.9",
    )


@section
class StyleGAN2Discriminator(StyleGAN2Options, BatchStatistics):
    residual: Literal["auto"] | Bool = Field(
        "auto", description="whether each level has a residual connection; auto: from 128 pixels on"
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
    base_channels: Annotated[Channels, Field(description="channels of all feature maps")]
    blocks: Integer = Field(ge=1, le=64, description="number of residual blocks")


@section
class PatchDiscriminator(DiscriminatorOptions):
    classifies: ClassVar[bool] = False
    initialization: Initialization = "default"
    base_channels: DoubledChannels
    levels: Levels
    normalization: ImageNormalization = Field(description="normalization after each layer but the first")


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
