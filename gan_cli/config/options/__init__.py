"""What can be chosen: one frozen dataclass per option, and the tables that name them.

Values live in `configs/`; here stand each key's type, range and meaning. Imports no torch, so that help and
mistakes answer at once.
"""

from gan_cli.config.options.conditioning import CONDITIONINGS, UNCONDITIONAL
from gan_cli.config.options.datasets import DATASETS
from gan_cli.config.options.evaluation import UNEVALUATED, Evaluation
from gan_cli.config.options.health import UNWATCHED, Health
from gan_cli.config.options.loop import DEVICES, Training
from gan_cli.config.options.networks import CONVOLUTIONAL, DISCRIMINATORS, GENERATORS, Architecture
from gan_cli.config.options.objectives import GRADIENT_PENALTIES, LOSSES, REGULARIZERS
from gan_cli.config.options.optimizers import OPTIMIZERS, rule_of

__all__ = [
    "CONDITIONINGS",
    "CONVOLUTIONAL",
    "DATASETS",
    "DEVICES",
    "DISCRIMINATORS",
    "GENERATORS",
    "GRADIENT_PENALTIES",
    "LOSSES",
    "OPTIMIZERS",
    "REGULARIZERS",
    "UNCONDITIONAL",
    "UNEVALUATED",
    "UNWATCHED",
    "Architecture",
    "Evaluation",
    "Health",
    "Training",
    "rule_of",
]
