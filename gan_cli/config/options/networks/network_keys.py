"""Keys that several networks have."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from gan_cli.config.options.fields import Integer, Number, OptionName, section

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
Channels = Annotated[Integer, Field(ge=1, le=1024)]
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


@section
class GeneratorOptions:
    """The keys of every generator. `condition_parts` names the parts of a condition that the network uses.

    `enlarges` says whether it makes a larger image than the condition's, `styles` whether it has a mapping network,
    which `auxiliary=path_length` needs, and `bounded` whether all values of its images are in [-1, 1].
    """

    condition_parts: ClassVar[frozenset[str]] = frozenset({"labels"})
    enlarges: ClassVar[bool] = False
    styles: ClassVar[bool] = False
    bounded: ClassVar[bool] = True
    name: OptionName
    latent_dim: Integer = Field(ge=1, le=4096, description="size of the latent vector")
    latent: Literal["normal", "uniform"] = Field(
        "normal", description="distribution of latents: standard normal, or uniform in -1 to 1"
    )


@section
class DiscriminatorOptions:
    """The keys of every discriminator. `feature_maps` says whether it shows its inner feature maps.

    `classifies` says whether it has class logits, which `conditioning=acgan` needs, and `reconstructs` whether it has
    decoders, which `regularizer=reconstruction` needs. `equalized` says whether its weights are stored near 1 and
    scaled in each pass (1710.10196, section 4.1), which `regularizer=weight_clip` does not fit.
    """

    feature_maps: ClassVar[bool] = True
    classifies: ClassVar[bool] = True
    reconstructs: ClassVar[bool] = False
    equalized: ClassVar[bool] = False
    name: OptionName


@section
class BatchStatistics(DiscriminatorOptions):
    """The key of every discriminator of this package."""

    minibatch: Literal["none", "stddev", "deviations", "discrimination"] = Field(
        "none",
        description="batch statistics that D gets as features: standard deviation (stddev, 1710.10196), that of learned"
        " projections (deviations), or distances of learned projections (discrimination, 1606.03498)",
    )
