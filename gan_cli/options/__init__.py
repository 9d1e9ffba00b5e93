"""What can be chosen: one frozen dataclass per option, and the closed tables that name them.

Values live in `configs/`; here stand each key's type, range and meaning. Imports no torch, so that help and
mistakes answer at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from gan_cli.errors import UsageError
from gan_cli.schema import key, option_of

MOST_DRAWN_BYTES = 4_000_000_000

# --- data sets ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mnist:
    name: str = key("the option's name")
    root: str = key("folder that holds or receives the idx files")
    download: bool = key("fetch the files if `root` lacks them")
    fallback: str = key("if they cannot be had: the bundled 5,000 digits, or an error", choices=("bundled", "error"))

    def sample_shape(self, image_size: int | None) -> tuple[int, ...]:
        return _square(1, image_size)


@dataclass(frozen=True)
class FashionMnist:
    name: str = key("the option's name")
    root: str = key("folder that holds or receives the idx files")
    download: bool = key("fetch the files if `root` lacks them")

    def sample_shape(self, image_size: int | None) -> tuple[int, ...]:
        return _square(1, image_size)


@dataclass(frozen=True)
class Kmnist:
    name: str = key("the option's name")
    root: str = key("folder that holds or receives the idx files")
    download: bool = key("fetch the files if `root` lacks them")

    def sample_shape(self, image_size: int | None) -> tuple[int, ...]:
        return _square(1, image_size)


@dataclass(frozen=True)
class Shapes:
    name: str = key("the option's name")
    size: int = key("number of samples drawn", at_least=1, at_most=1_000_000)
    image_channels: int = key(
        "1: grey, 8 modes; 2: mirrored in the second; 3: coloured, 24 modes", at_least=1, at_most=3
    )

    def sample_shape(self, image_size: int | None) -> tuple[int, ...]:
        shape = _square(self.image_channels, image_size)
        needed = self.size * math.prod(shape)
        if needed > MOST_DRAWN_BYTES:
            raise UsageError(
                f"dataset.size={self.size}: with image_size={image_size} these are {needed:,} bytes,"
                f" at most {MOST_DRAWN_BYTES:,} are drawn"
            )
        return shape


@dataclass(frozen=True)
class Ring:
    name: str = key("the option's name")
    size: int = key("number of samples drawn", at_least=1, at_most=10_000_000)
    modes: int = key("number of Gaussians, evenly spaced on the circle", at_least=1, at_most=1000)
    radius: float = key("radius of the circle", above=0, at_most=1000)
    std: float = key("standard deviation of each Gaussian along each axis", above=0, at_most=1000)

    def sample_shape(self, image_size: int | None) -> tuple[int, ...]:
        return (2,)


@dataclass(frozen=True)
class Grid:
    name: str = key("the option's name")
    size: int = key("number of samples drawn", at_least=1, at_most=10_000_000)
    side: int = key("Gaussians along each axis", at_least=1, at_most=100)
    spacing: float = key("from one Gaussian to the next", above=0, at_most=1000)
    std: float = key("standard deviation of each Gaussian along each axis", above=0, at_most=1000)

    def sample_shape(self, image_size: int | None) -> tuple[int, ...]:
        return (2,)


@dataclass(frozen=True)
class SwissRoll:
    name: str = key("the option's name")
    size: int = key("number of samples drawn", at_least=1, at_most=10_000_000)
    std: float = key(
        "standard deviation of the noise, before the roll is scaled to about -2 to 2", at_least=0, at_most=100
    )

    def sample_shape(self, image_size: int | None) -> tuple[int, ...]:
        return (2,)


def _square(channels: int, image_size: int | None) -> tuple[int, ...]:
    if image_size is None:
        raise UsageError("image_size=null: expected a whole number, since this data set holds images")
    return (channels, image_size, image_size)


DATASETS = {
    "mnist": Mnist,
    "fashion_mnist": FashionMnist,
    "kmnist": Kmnist,
    "shapes": Shapes,
    "ring": Ring,
    "grid": Grid,
    "swiss_roll": SwissRoll,
}

# --- networks ----------------------------------------------------------------------------------------------------

IMAGE_NORMALIZATIONS = ("none", "batch", "layer", "instance", "spectral")
VECTOR_NORMALIZATIONS = ("none", "batch", "layer", "spectral")  # instance: one value has no statistics
DCGAN_SIZES = (16, 28, 32, 56, 64, 112, 128, 224, 256)  # 4 or 7 times a power of two


@dataclass(frozen=True)
class MLPGenerator:
    name: str = key("the option's name")
    latent_dim: int = key("size of the latent vector", at_least=1, at_most=4096)
    width: int = key("units of a hidden layer", at_least=1, at_most=8192)
    depth: int = key("number of hidden layers", at_least=1, at_most=32)
    normalization: str = key("after each hidden layer", choices=VECTOR_NORMALIZATIONS)


@dataclass(frozen=True)
class DCGANGenerator:
    name: str = key("the option's name")
    latent_dim: int = key("size of the latent vector", at_least=1, at_most=4096)
    base_channels: int = key(
        "channels at the finest level; each coarser one has twice as many", at_least=1, at_most=512
    )
    normalization: str = key("after each layer but the last", choices=IMAGE_NORMALIZATIONS)


@dataclass(frozen=True)
class MLPDiscriminator:
    name: str = key("the option's name")
    width: int = key("units of a hidden layer", at_least=1, at_most=8192)
    depth: int = key("number of hidden layers", at_least=1, at_most=32)
    normalization: str = key("after each hidden layer", choices=VECTOR_NORMALIZATIONS)


@dataclass(frozen=True)
class DCGANDiscriminator:
    name: str = key("the option's name")
    base_channels: int = key(
        "channels at the finest level; each coarser one has twice as many", at_least=1, at_most=512
    )
    normalization: str = key("after each layer but the first", choices=IMAGE_NORMALIZATIONS)


GENERATORS = {"mlp": MLPGenerator, "dcgan": DCGANGenerator}
DISCRIMINATORS = {"mlp": MLPDiscriminator, "dcgan": DCGANDiscriminator}


@dataclass(frozen=True)
class Architecture:
    generator: Any = option_of(GENERATORS, "the network that makes samples from latents")
    discriminator: Any = option_of(DISCRIMINATORS, "the network that tells real from fake")


# --- losses and regularizers -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loss:
    name: str = key("the option's name")


LOSSES = dict.fromkeys(("non_saturating", "minimax", "wasserstein", "hinge", "least_squares", "relativistic"), Loss)


def interval() -> Any:
    """The key of every penalty that may be lazy."""
    return key("D updates from one penalty to the next; the weight is multiplied by it", at_least=1, at_most=1000)


@dataclass(frozen=True)
class GradientPenalty:
    weight: float = key("lambda of lambda E(|grad D| - 1)^2", at_least=0)
    every: int = interval()


@dataclass(frozen=True)
class R1:
    weight: float = key("gamma of gamma/2 E|grad D(real)|^2", at_least=0)
    every: int = interval()


@dataclass(frozen=True)
class R2:
    weight: float = key("gamma of gamma/2 E|grad D(fake)|^2", at_least=0)
    every: int = interval()


@dataclass(frozen=True)
class Dragan:
    weight: float = key("lambda of lambda E(|grad D| - 1)^2 around real samples", at_least=0)
    every: int = interval()


@dataclass(frozen=True)
class ZeroCentered:
    weight: float = key("lambda of lambda E|grad D|^2 between real and fake", at_least=0)
    every: int = interval()


@dataclass(frozen=True)
class WeightClip:
    limit: float = key("D's weights are clamped to [-limit, limit] after its update", above=0)


REGULARIZERS = {
    "gradient_penalty": GradientPenalty,
    "r1": R1,
    "r2": R2,
    "dragan": Dragan,
    "zero_centered": ZeroCentered,
    "weight_clip": WeightClip,
}
GRADIENT_PENALTIES = ("gradient_penalty", "r1", "r2", "dragan", "zero_centered")

# --- optimization and machine ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LearningRate:
    lr: float = key("this network's learning rate; follows optimizer.lr unless set", at_least=0, at_most=10)


@dataclass(frozen=True)
class Adam:
    name: str = key("the option's name")
    lr: float = key("learning rate of both networks", at_least=0, at_most=10)
    beta1: float = key("decay of the mean of gradients", at_least=0, below=1)
    beta2: float = key("decay of the mean of squared gradients", at_least=0, below=1)
    eps: float = key("added to the root of the second moment", above=0, at_most=1)
    generator: LearningRate = key("the generator's own settings")
    discriminator: LearningRate = key("the discriminator's own settings")


@dataclass(frozen=True)
class RMSprop:
    name: str = key("the option's name")
    lr: float = key("learning rate of both networks", at_least=0, at_most=10)
    alpha: float = key("decay of the mean of squared gradients", at_least=0, below=1)
    eps: float = key("added to the root of the second moment", above=0, at_most=1)
    generator: LearningRate = key("the generator's own settings")
    discriminator: LearningRate = key("the discriminator's own settings")


@dataclass(frozen=True)
class AdamW:
    name: str = key("the option's name")
    lr: float = key("learning rate of both networks", at_least=0, at_most=10)
    beta1: float = key("decay of the mean of gradients", at_least=0, below=1)
    beta2: float = key("decay of the mean of squared gradients", at_least=0, below=1)
    eps: float = key("added to the root of the second moment", above=0, at_most=1)
    weight_decay: float = key("share of a weight that an update of rate 1 takes away", at_least=0, at_most=10)
    generator: LearningRate = key("the generator's own settings")
    discriminator: LearningRate = key("the discriminator's own settings")


@dataclass(frozen=True)
class SGD:
    name: str = key("the option's name")
    lr: float = key("learning rate of both networks", at_least=0, at_most=10)
    momentum: float = key("share of the last update that is made again", at_least=0, below=1)
    generator: LearningRate = key("the generator's own settings")
    discriminator: LearningRate = key("the discriminator's own settings")


OPTIMIZERS = {"adam": Adam, "adamw": AdamW, "rmsprop": RMSprop, "sgd": SGD}


@dataclass(frozen=True)
class Device:
    name: str = key("the option's name")


@dataclass(frozen=True)
class Cuda:
    name: str = key("the option's name")
    index: int = key("which GPU", at_least=0, at_most=1023)


DEVICES = {"auto": Device, "cpu": Device, "cuda": Cuda, "mps": Device}


@dataclass(frozen=True)
class Training:
    n_critic: int = key("discriminator updates per generator update", at_least=1, at_most=1000)
    ema_decay: float = key(
        "decay a step of the averaged generator, which makes the pictures; 0: none", at_least=0, below=1
    )
    lr_schedule: str = key("how learning rates go over the run", choices=("constant", "linear", "cosine"))
    log_every: int = key("steps between lines of metrics.jsonl; 0: never", at_least=0)
    sample_every: int = key("steps between sample grids; 0: only the last", at_least=0)
    checkpoint_every: int = key("steps between checkpoints; 0: only the first and the last", at_least=0)
