"""The networks that can be chosen, and what each takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gan_cli.config.schema import key, option_of

IMAGE_NORMALIZATIONS = ("none", "batch", "layer", "instance", "spectral")
VECTOR_NORMALIZATIONS = ("none", "batch", "layer", "spectral")  # instance: one value has no statistics
INITIALIZATIONS = ("default", "normal", "xavier", "orthogonal")
MINIBATCH = ("none", "stddev", "deviations", "discrimination")
LATENTS = ("normal", "uniform")
CONVOLUTIONAL = ("subpixel", "dcgan", "resnet")  # they work on images, of sides that can be halved


@dataclass(frozen=True)
class GeneratorOptions:
    """What every generator takes."""

    name: str = key("the option's name")
    latent_dim: int = key("size of the latent vector", at_least=1, at_most=4096)
    latent: str = key("distribution of each latent: standard normal, or -1 to 1", absent="normal", choices=LATENTS)


@dataclass(frozen=True)
class DiscriminatorOptions:
    """What every discriminator takes."""

    name: str = key("the option's name")


def initialization() -> Any:
    return key(
        "of the weights: PyTorch's own, normal with deviation 0.02, xavier or orthogonal",
        absent="default",
        choices=INITIALIZATIONS,
    )


def width() -> Any:
    return key("units of a hidden layer", at_least=1, at_most=8192)


def depth() -> Any:
    return key("number of hidden layers", at_least=1, at_most=32)


def base_channels(growth: str = "each coarser one has twice as many") -> Any:
    return key(f"channels at the finest level; {growth}", at_least=1, at_most=512)


def dropout() -> Any:
    return key("share of a hidden layer's outputs set to zero in training", absent=0.0, at_least=0, below=1)


def minibatch() -> Any:
    return key(
        "what D is told of the rest of its batch: its spread (stddev, 1710.10196), that of features which it learns to"
        " compare (deviations), or how near it is (discrimination, 1606.03498)",
        absent="none",
        choices=MINIBATCH,
    )


def max_multiplier(**kwargs: Any) -> Any:
    return key(
        "coarser levels have twice the channels, up to this many times base_channels; 1: all alike",
        **kwargs,
        at_least=1,
        at_most=64,
    )


def attention() -> Any:
    return key(
        "height in pixels of the maps that attend to themselves (1805.08318); none unless set", at_least=1, at_most=256
    )


@dataclass(frozen=True)
class MLPGenerator(GeneratorOptions):
    initialization: str = initialization()
    width: int = width()
    depth: int = depth()
    normalization: str = key("after each hidden layer", choices=VECTOR_NORMALIZATIONS)
    dropout: float = dropout()


@dataclass(frozen=True)
class MLPDiscriminator(DiscriminatorOptions):
    minibatch: str = minibatch()
    initialization: str = initialization()
    width: int = width()
    depth: int = depth()
    normalization: str = key("after each hidden layer", choices=VECTOR_NORMALIZATIONS)
    dropout: float = dropout()


@dataclass(frozen=True)
class DCGANGenerator(GeneratorOptions):
    initialization: str = initialization()
    base_channels: int = base_channels()
    normalization: str = key("after each layer but the last", choices=IMAGE_NORMALIZATIONS)
    dropout: float = dropout()


@dataclass(frozen=True)
class DCGANDiscriminator(DiscriminatorOptions):
    minibatch: str = minibatch()
    initialization: str = initialization()
    base_channels: int = base_channels()
    normalization: str = key("after each layer but the first", choices=IMAGE_NORMALIZATIONS)
    dropout: float = dropout()


@dataclass(frozen=True)
class SubpixelGenerator(GeneratorOptions):
    output: str = key(
        "unfolded: each 4 x 4 pixels straight from a place of the finest map; blurred: each 2 x 2 from a map of half"
        " the image's sides, then blurred, which leaves no pattern of pixels",
        absent="unfolded",
        choices=("unfolded", "blurred"),
    )
    initialization: str = initialization()
    base_channels: int = base_channels("see max_multiplier")
    max_multiplier: int = max_multiplier(absent=8)
    normalization: str = key("after each layer but the last", choices=IMAGE_NORMALIZATIONS)
    dropout: float = dropout()


@dataclass(frozen=True)
class SubpixelDiscriminator(DiscriminatorOptions):
    minibatch: str = minibatch()
    initialization: str = initialization()
    base_channels: int = base_channels()
    normalization: str = key("after each layer but the first", choices=IMAGE_NORMALIZATIONS)
    dropout: float = dropout()


@dataclass(frozen=True)
class ResNetGenerator(GeneratorOptions):
    initialization: str = initialization()
    base_channels: int = base_channels("see max_multiplier")
    max_multiplier: int = max_multiplier()
    normalization: str = key("before each convolution of a block", choices=IMAGE_NORMALIZATIONS)
    attention: int | None = attention()


@dataclass(frozen=True)
class ResNetDiscriminator(DiscriminatorOptions):
    minibatch: str = minibatch()
    initialization: str = initialization()
    base_channels: int = base_channels("see max_multiplier")
    max_multiplier: int = max_multiplier()
    normalization: str = key("before each convolution of a block", choices=IMAGE_NORMALIZATIONS)
    attention: int | None = attention()
    pooling: str = key("of the last maps, over space", choices=("sum", "mean"))


GENERATORS: dict[str, type] = {
    "subpixel": SubpixelGenerator,
    "dcgan": DCGANGenerator,
    "resnet": ResNetGenerator,
    "mlp": MLPGenerator,
}
DISCRIMINATORS: dict[str, type] = {
    "subpixel": SubpixelDiscriminator,
    "dcgan": DCGANDiscriminator,
    "resnet": ResNetDiscriminator,
    "mlp": MLPDiscriminator,
}


@dataclass(frozen=True)
class Architecture:
    generator: Any = option_of(GENERATORS, "the network that makes samples from latents")
    discriminator: Any = option_of(DISCRIMINATORS, "the network that tells real from fake")
