"""The ways of asking for a kind of sample that can be chosen, and what each takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gan_cli.config.schema import key


@dataclass(frozen=True)
class Unconditional:
    name: str = key("the option's name")


PRINTABLE = r"[^\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\ud800-\udfff]{1,300}"

UNCONDITIONAL = Unconditional("none")


@dataclass(frozen=True)
class Projection:
    """Also what every conditional option takes."""

    name: str = key("the option's name")
    classes: tuple[str, ...] | None = key(
        "what can be asked for; recorded from the data, not to be set",
        pattern=PRINTABLE,
        pattern_means="names of printable letters",
    )


def embedding_dim() -> Any:
    return key("numbers that a class becomes", at_least=1, at_most=4096)


@dataclass(frozen=True)
class Concat(Projection):
    embedding_dim: int = embedding_dim()


@dataclass(frozen=True)
class AuxiliaryClassifier(Projection):
    embedding_dim: int = embedding_dim()
    weight: float = key("of the classification in both networks' losses", at_least=0, at_most=1000)


CONDITIONINGS: dict[str, type] = {
    "none": Unconditional,
    "concat": Concat,
    "projection": Projection,
    "acgan": AuxiliaryClassifier,
}
