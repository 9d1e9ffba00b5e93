"""Options of the groups `architecture/generator` and `architecture/discriminator`: the keys of each network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gan_cli.config.schema import key, option_of

IMAGE_NORMALIZATIONS = ("none", "batch", "layer", "instance", "spectral")
VECTOR_NORMALIZATIONS = ("none", "batch", "layer", "spectral")  # no instance norm: a single value has no statistics
INITIALIZATIONS = ("default", "normal", "xavier", "orthogonal")
MINIBATCH = ("none", "stddev", "deviations", "discrimination")
LATENTS = ("normal", "uniform")
CONVOLUTIONAL = ("subpixel", "dcgan", "resnet")  # these networks need images; points have no sides to halve


@dataclass(frozen=True)
class GeneratorOptions:
    """The keys of every generator."""

    name: str = key("the option's name")
    latent_dim: int = key("size of the latent vector", at_least=1, at_most=4096)
    latent: str = key(
        "distribution of latents: standard normal, or uniform in -1 to 1", absent="normal", choices=LATENTS
    )


@dataclass(frozen=True)
class DiscriminatorOptions:
    """The keys of every discriminator."""

    name: str = key("the option's name")


def initialization() -> Any:
    """Declares the key for the initialization of the weights."""
    return key(
        "initialization of the weights: PyTorch's default, normal with standard deviation 0.02, xavier or orthogonal",
        absent="default",
        choices=INITIALIZATIONS,
    )


def width() -> Any:
    """Declares the key for the number of units in a hidden layer."""
    return key("units of a hidden layer", at_least=1, at_most=8192)


def depth() -> Any:
    """Declares the key for the number of hidden layers."""
    return key("number of hidden layers", at_least=1, at_most=32)


def base_channels(growth: str = "twice as many at each coarser one") -> Any:
    """Declares the key for the channels at the finest resolution. `growth` describes the channels at other ones."""
    return key(f"channels at the finest resolution; {growth}", at_least=1, at_most=512)


def dropout() -> Any:
    """Declares the key for dropout."""
    return key("share of a hidden layer's outputs set to zero in training", absent=0.0, at_least=0, below=1)


def minibatch() -> Any:
    """Declares the key for batch statistics in the discriminator."""
    return key(
        "batch statistics that D gets as features: standard deviation (stddev, 1710.10196), that of learned projections"
        " (deviations), or distances of learned projections (discrimination, 1606.03498)",
        absent="none",
        choices=MINIBATCH,
    )


def max_multiplier(**kwargs: Any) -> Any:
    """Declares the key for the largest number of channels, as a multiple of `base_channels`."""
    return key(
        "channels double at coarser resolutions, up to this many times base_channels; 1: constant",
        **kwargs,
        at_least=1,
        at_most=64,
    )


def attention() -> Any:
    """Declares the key for self-attention."""
    return key(
        "height in pixels of the feature maps with self-attention (1805.08318); none unless set",
        at_least=1,
        at_most=256,
    )


@dataclass(frozen=True)
class MLPGenerator(GeneratorOptions):
    initialization: str = initialization()
    width: int = width()
    depth: int = depth()
    normalization: str = key("normalization after each hidden layer", choices=VECTOR_NORMALIZATIONS)
    dropout: float = dropout()


@dataclass(frozen=True)
class MLPDiscriminator(DiscriminatorOptions):
    minibatch: str = minibatch()
    initialization: str = initialization()
    width: int = width()
    depth: int = depth()
    normalization: str = key("normalization after each hidden layer", choices=VECTOR_NORMALIZATIONS)
    dropout: float = dropout()


@dataclass(frozen=True)
class DCGANGenerator(GeneratorOptions):
    initialization: str = initialization()
    base_channels: int = base_channels()
    normalization: str = key("normalization after each layer but the last", choices=IMAGE_NORMALIZATIONS)
    dropout: float = dropout()


@dataclass(frozen=True)
class DCGANDiscriminator(DiscriminatorOptions):
    minibatch: str = minibatch()
    initialization: str = initialization()
    base_channels: int = base_channels()
    normalization: str = key("normalization after each layer but the first", choices=IMAGE_NORMALIZATIONS)
    dropout: float = dropout()


@dataclass(frozen=True)
class SubpixelGenerator(GeneratorOptions):
    output: str = key(
        "unfolded: 4 x 4 pixels from each position of the finest map; blurred: 2 x 2 pixels from a map of half the"
        " image's sides, then blurred, which avoids checkerboard patterns",
        absent="unfolded",
        choices=("unfolded", "blurred"),
    )
    initialization: str = initialization()
    base_channels: int = base_channels("see max_multiplier")
    max_multiplier: int = max_multiplier(absent=8)
    normalization: str = key("normalization after each layer but the last", choices=IMAGE_NORMALIZATIONS)
    dropout: float = dropout()


@dataclass(frozen=True)
class SubpixelDiscriminator(DiscriminatorOptions):
    minibatch: str = minibatch()
    initialization: str = initialization()
    base_channels: int = base_channels()
    normalization: str = key("normalization after each layer but the first", choices=IMAGE_NORMALIZATIONS)
    dropout: float = dropout()


@dataclass(frozen=True)
class ResNetGenerator(GeneratorOptions):
    initialization: str = initialization()
    base_channels: int = base_channels("see max_multiplier")
    max_multiplier: int = max_multiplier()
    normalization: str = key("normalization before each convolution of a block", choices=IMAGE_NORMALIZATIONS)
    attention: int | None = attention()


@dataclass(frozen=True)
class ResNetDiscriminator(DiscriminatorOptions):
    minibatch: str = minibatch()
    initialization: str = initialization()
    base_channels: int = base_channels("see max_multiplier")
    max_multiplier: int = max_multiplier()
    normalization: str = key("normalization before each convolution of a block", choices=IMAGE_NORMALIZATIONS)
    attention: int | None = attention()
    pooling: str = key("pooling of the last feature maps over space", choices=("sum", "mean"))


GENERATOR_OPTIONS: dict[str, type] = {
    "subpixel": SubpixelGenerator,
    "dcgan": DCGANGenerator,
    "resnet": ResNetGenerator,
    "mlp": MLPGenerator,
}
DISCRIMINATOR_OPTIONS: dict[str, type] = {
    "subpixel": SubpixelDiscriminator,
    "dcgan": DCGANDiscriminator,
    "resnet": ResNetDiscriminator,
    "mlp": MLPDiscriminator,
}


@dataclass(frozen=True)
class ArchitectureOptions:
    """The section `architecture`."""

    generator: Any = option_of(GENERATOR_OPTIONS, "the network that generates samples from latents")
    discriminator: Any = option_of(DISCRIMINATOR_OPTIONS, "the network that distinguishes real from fake")
