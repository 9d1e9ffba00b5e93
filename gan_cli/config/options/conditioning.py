"""Options of the group `conditioning`: how samples are conditioned on a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gan_cli.config.schema import key


@dataclass(frozen=True)
class Unconditional:
    """No conditioning. The networks get no class, and samples may be of any class."""

    name: str = key("the option's name")


PRINTABLE = r"[^\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\ud800-\udfff]{1,300}"

UNCONDITIONAL = Unconditional("none")


@dataclass(frozen=True)
class Projection:
    """Projection discriminator. All other conditional options have its keys too."""

    name: str = key("the option's name")
    classes: tuple[str, ...] | None = key(
        "the classes; recorded from the data, not to be set",
        pattern=PRINTABLE,
        pattern_means="names of printable characters",
    )


def embedding_dim() -> Any:
    """Declares the key for the size of the class embedding."""
    return key("size of the class embedding", at_least=1, at_most=4096)


@dataclass(frozen=True)
class Concat(Projection):
    """The class embedding is concatenated to the inputs of both networks."""

    embedding_dim: int = embedding_dim()


@dataclass(frozen=True)
class AuxiliaryClassifier(Projection):
    """AC-GAN: D also classifies, and both networks minimize the classification loss."""

    embedding_dim: int = embedding_dim()
    weight: float = key("weight of the classification loss in both networks' losses", at_least=0, at_most=1000)


CONDITIONING_OPTIONS: dict[str, type] = {
    "none": Unconditional,
    "concat": Concat,
    "projection": Projection,
    "acgan": AuxiliaryClassifier,
}
