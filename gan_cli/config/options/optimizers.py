"""Declares the keys of each option of the group `optimizer`, for both networks or for one network."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from gan_cli.config.schema import key, option_of


@dataclass(frozen=True)
class LearningRate:
    """A network that uses `optimizer` with its own learning rate."""

    lr: float = key("learning rate of this network; optimizer.lr unless set", at_least=0, at_most=10)


@dataclass(frozen=True)
class OptimizerOptions:
    """The keys of every optimizer."""

    name: str = key("the option's name")
    lr: float = key("learning rate", at_least=0, at_most=10)


@dataclass(frozen=True)
class AdamRule(OptimizerOptions):
    beta1: float = key("decay of the running mean of gradients", at_least=0, below=1)
    beta2: float = key("decay of the running mean of squared gradients", at_least=0, below=1)
    eps: float = key("added to the denominator for numerical stability", above=0, at_most=1)


@dataclass(frozen=True)
class AdamWRule(AdamRule):
    weight_decay: float = key("decoupled weight decay", at_least=0, at_most=10)


@dataclass(frozen=True)
class RMSpropRule(OptimizerOptions):
    alpha: float = key("decay of the running mean of squared gradients", at_least=0, below=1)
    eps: float = key("added to the denominator for numerical stability", above=0, at_most=1)


@dataclass(frozen=True)
class SGDRule(OptimizerOptions):
    momentum: float = key("momentum factor", at_least=0, below=1)


OPTIMIZER_RULES: dict[str, type] = {"adam": AdamRule, "adamw": AdamWRule, "rmsprop": RMSpropRule, "sgd": SGDRule}


@dataclass(frozen=True)
class BothNetworks:
    """The keys that `optimizer` adds to an update rule: a learning rate or an optimizer for each network."""

    generator: Any = option_of(OPTIMIZER_RULES, "learning rate or optimizer of the generator", unnamed=LearningRate)
    discriminator: Any = option_of(
        OPTIMIZER_RULES, "learning rate or optimizer of the discriminator", unnamed=LearningRate
    )


@dataclass(frozen=True)
class Adam(BothNetworks, AdamRule):
    pass


@dataclass(frozen=True)
class AdamW(BothNetworks, AdamWRule):
    pass


@dataclass(frozen=True)
class RMSprop(BothNetworks, RMSpropRule):
    pass


@dataclass(frozen=True)
class SGD(BothNetworks, SGDRule):
    pass


OPTIMIZER_OPTIONS: dict[str, type] = {"adam": Adam, "adamw": AdamW, "rmsprop": RMSprop, "sgd": SGD}


def optimizer_settings(optimizer: Any, role: str) -> dict[str, Any]:
    """Returns the name and settings of one network's optimizer. `role` is "generator" or "discriminator"."""
    own = getattr(optimizer, role)
    if not isinstance(own, LearningRate):
        return dataclasses.asdict(own)
    settings = dataclasses.asdict(optimizer)
    del settings["generator"], settings["discriminator"]
    return {**settings, "lr": own.lr}
