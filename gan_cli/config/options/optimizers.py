"""Declares the keys of each option of the group `optimizer`, for both networks or for one network."""

import dataclasses
from typing import Annotated, Any

from pydantic import Field

from gan_cli.config.options.fields import Number, OneOf, OptionName, section


@section
class LearningRate:
    """A network that uses `optimizer` with its own learning rate."""

    lr: Number = Field(ge=0, le=10, description="learning rate of this network; optimizer.lr unless set")


@section
class OptimizerOptions:
    """The keys of every optimizer."""

    name: OptionName
    lr: Number = Field(ge=0, le=10, description="learning rate")


@section
class AdamRule(OptimizerOptions):
    beta1: Number = Field(ge=0, lt=1, description="decay of the running mean of gradients")
    beta2: Number = Field(ge=0, lt=1, description="decay of the running mean of squared gradients")
    eps: Number = Field(gt=0, le=1, description="added to the denominator for numerical stability")


@section
class AdamWRule(AdamRule):
    weight_decay: Number = Field(ge=0, le=10, description="decoupled weight decay")


@section
class RMSpropRule(OptimizerOptions):
    alpha: Number = Field(ge=0, lt=1, description="decay of the running mean of squared gradients")
    eps: Number = Field(gt=0, le=1, description="added to the denominator for numerical stability")


@section
class SGDRule(OptimizerOptions):
    momentum: Number = Field(ge=0, lt=1, description="momentum factor")


OPTIMIZER_RULES: dict[str, type] = {"adam": AdamRule, "adamw": AdamWRule, "rmsprop": RMSpropRule, "sgd": SGDRule}


@section
class BothNetworks:
    """The keys that `optimizer` adds to an update rule: a learning rate or an optimizer for each network."""

    generator: Annotated[Any, OneOf(OPTIMIZER_RULES, LearningRate)] = Field(
        description="learning rate or optimizer of the generator"
    )
    discriminator: Annotated[Any, OneOf(OPTIMIZER_RULES, LearningRate)] = Field(
        description="learning rate or optimizer of the discriminator"
    )


OPTIMIZER_OPTIONS: dict[str, type] = {
    name: section(type(rule.__name__.removesuffix("Rule"), (BothNetworks, rule), {}))
    for name, rule in OPTIMIZER_RULES.items()
}


def optimizer_settings(optimizer: Any, role: str) -> dict[str, Any]:
    """Returns the name and settings of one network's optimizer. `role` is "generator" or "discriminator"."""
    own = getattr(optimizer, role)
    if not isinstance(own, LearningRate):
        return dataclasses.asdict(own)
    settings = dataclasses.asdict(optimizer)
    del settings["generator"], settings["discriminator"]
    return {**settings, "lr": own.lr}
