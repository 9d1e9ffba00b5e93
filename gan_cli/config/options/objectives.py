"""Declares the keys of each option of the groups `loss` and `regularizer`."""

from typing import Annotated, Literal

from pydantic import Field

from gan_cli.config.options.fields import Integer, Number, OptionName, section


@section
class LossOptions:
    """The key of every loss of this package. The only key is the name."""

    name: OptionName


LOSS_OPTIONS: dict[str, type] = dict.fromkeys(
    ("non_saturating", "minimax", "wasserstein", "hinge", "least_squares", "relativistic"), LossOptions
)


Interval = Annotated[
    Literal["auto"] | Annotated[Integer, Field(ge=1, le=1000)],
    Field(description="D updates between penalties; the weight is multiplied by it; auto: 8 for images, 1 for points"),
]


@section
class GradientPenalty:
    weight: Number = Field(ge=0, description="lambda of lambda E(|grad D| - 1)^2")
    every: Interval


@section
class R1:
    weight: Number = Field(ge=0, description="gamma of gamma/2 E|grad D(real)|^2")
    every: Interval


@section
class R2:
    weight: Number = Field(ge=0, description="gamma of gamma/2 E|grad D(fake)|^2")
    every: Interval


@section
class Dragan:
    weight: Number = Field(ge=0, description="lambda of lambda E(|grad D| - 1)^2 around real samples")
    every: Interval


@section
class ZeroCentered:
    weight: Number = Field(ge=0, description="lambda of lambda E|grad D|^2 between real and fake")
    every: Interval


@section
class JensenShannon:
    weight: Number = Field(ge=0, description="gamma, the variance of the noise that the penalty replaces")
    every: Interval


@section
class LeCam:
    weight: Number = Field(ge=0, description="lambda of the squared distances to the averages of the other logits")
    decay: Number = Field(ge=0, lt=1, description="decay of these averages per D update")
    start: Integer = Field(ge=0, le=10**9, description="D updates before the penalty starts")


@section
class Consistency:
    weight: Number = Field(ge=0, description="lambda of E|D(x) - D(T(x))|^2 on real and fake; T mirrors and shifts")


@section
class Orthogonal:
    weight: Number = Field(ge=0, description="beta of |W'W (1 - I)|^2 over D's layers")


@section
class WeightClip:
    limit: Number = Field(gt=0, description="clamp D's weights to [-limit, limit] after each update")


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
