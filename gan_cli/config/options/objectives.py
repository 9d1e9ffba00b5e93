"""Declares the keys of each option of the groups `loss` and `regularizer`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gan_cli.config.schema import key


@dataclass(frozen=True)
class LossOptions:
    """The key of every loss of this package. The only key is the name."""

    name: str = key("the option's name")


LOSS_OPTIONS: dict[str, type] = dict.fromkeys(
    ("non_saturating", "minimax", "wasserstein", "hinge", "least_squares", "relativistic"), LossOptions
)


def interval() -> Any:
    """Declares the key for the interval of a gradient penalty."""
    return key(
        "D updates between penalties; the weight is multiplied by it; auto: 8 for images, 1 for points",
        word="auto",
        at_least=1,
        at_most=1000,
    )


@dataclass(frozen=True)
class GradientPenalty:
    weight: float = key("lambda of lambda E(|grad D| - 1)^2", at_least=0)
    every: int | str = interval()


@dataclass(frozen=True)
class R1:
    weight: float = key("gamma of gamma/2 E|grad D(real)|^2", at_least=0)
    every: int | str = interval()


@dataclass(frozen=True)
class R2:
    weight: float = key("gamma of gamma/2 E|grad D(fake)|^2", at_least=0)
    every: int | str = interval()


@dataclass(frozen=True)
class Dragan:
    weight: float = key("lambda of lambda E(|grad D| - 1)^2 around real samples", at_least=0)
    every: int | str = interval()


@dataclass(frozen=True)
class ZeroCentered:
    weight: float = key("lambda of lambda E|grad D|^2 between real and fake", at_least=0)
    every: int | str = interval()


@dataclass(frozen=True)
class JensenShannon:
    weight: float = key("gamma, the variance of the noise that the penalty replaces", at_least=0)
    every: int | str = interval()


@dataclass(frozen=True)
class LeCam:
    weight: float = key("lambda of the squared distances to the averages of the other logits", at_least=0)
    decay: float = key("decay of these averages per D update", at_least=0, below=1)
    start: int = key("D updates before the penalty starts", at_least=0, at_most=10**9)


@dataclass(frozen=True)
class Consistency:
    weight: float = key("lambda of E|D(x) - D(T(x))|^2 on real and fake; T mirrors and shifts", at_least=0)


@dataclass(frozen=True)
class Orthogonal:
    weight: float = key("beta of |W'W (1 - I)|^2 over D's layers", at_least=0)


@dataclass(frozen=True)
class WeightClip:
    limit: float = key("clamp D's weights to [-limit, limit] after each update", above=0)


REGULARIZER_OPTIONS: dict[str, type] = {
    "gradient_penalty": GradientPenalty,
    "r1": R1,
    "r2": R2,
    "dragan": Dragan,
    "zero_centered": ZeroCentered,
    "js": JensenShannon,
    "lecam": LeCam,
    "consistency": Consistency,
    "orthogonal": Orthogonal,
    "weight_clip": WeightClip,
}
GRADIENT_PENALTIES = ("gradient_penalty", "r1", "r2", "dragan", "zero_centered", "js")
