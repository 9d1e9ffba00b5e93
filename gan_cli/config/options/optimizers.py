"""The optimizers that can be chosen, for both networks or for one, and what each takes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from gan_cli.config.schema import key, option_of


@dataclass(frozen=True)
class LearningRate:
    """A network that follows `optimizer` but for its rate."""

    lr: float = key("this network's learning rate; follows optimizer.lr unless set", at_least=0, at_most=10)


@dataclass(frozen=True)
class OptimizerOptions:
    """What every optimizer takes."""

    name: str = key("the option's name")
    lr: float = key("learning rate", at_least=0, at_most=10)


@dataclass(frozen=True)
class AdamRule(OptimizerOptions):
    beta1: float = key("decay of the mean of gradients", at_least=0, below=1)
    beta2: float = key("decay of the mean of squared gradients", at_least=0, below=1)
    eps: float = key("added to the root of the second moment", above=0, at_most=1)


@dataclass(frozen=True)
class AdamWRule(AdamRule):
    weight_decay: float = key("share of a weight that an update of rate 1 takes away", at_least=0, at_most=10)


@dataclass(frozen=True)
class RMSpropRule(OptimizerOptions):
    alpha: float = key("decay of the mean of squared gradients", at_least=0, below=1)
    eps: float = key("added to the root of the second moment", above=0, at_most=1)


@dataclass(frozen=True)
class SGDRule(OptimizerOptions):
    momentum: float = key("share of the last update that is made again", at_least=0, below=1)


RULES: dict[str, type] = {"adam": AdamRule, "adamw": AdamWRule, "rmsprop": RMSpropRule, "sgd": SGDRule}


@dataclass(frozen=True)
class BothNetworks:
    """What `optimizer` adds to a rule: each network's own settings, or an optimizer of its own."""

    generator: Any = option_of(RULES, "the generator's own rate, or optimizer", unnamed=LearningRate)
    discriminator: Any = option_of(RULES, "the discriminator's own rate, or optimizer", unnamed=LearningRate)


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


OPTIMIZERS: dict[str, type] = {"adam": Adam, "adamw": AdamW, "rmsprop": RMSprop, "sgd": SGD}


def rule_of(optimizer: Any, role: str) -> dict[str, Any]:
    """The name and settings by which one network, `generator` or `discriminator`, is optimized."""
    own = getattr(optimizer, role)
    if not isinstance(own, LearningRate):
        return dataclasses.asdict(own)
    settings = dataclasses.asdict(optimizer)
    del settings["generator"], settings["discriminator"]
    return {**settings, "lr": own.lr}
