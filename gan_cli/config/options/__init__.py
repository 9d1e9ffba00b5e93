"""The options of gan-train: one frozen dataclass per option, and tables of them by name.

A dataclass declares type, range and meaning of each key; the values are in `configs/`. Imports no torch, so that help
and error messages are fast.
"""

from gan_cli.config.options.conditioning import CONDITIONINGS, UNCONDITIONAL
from gan_cli.config.options.datasets import DATASETS
from gan_cli.config.options.evaluation import UNEVALUATED, EvaluationOptions
from gan_cli.config.options.health import UNWATCHED, HealthOptions
from gan_cli.config.options.loop import DEVICES, TrainingOptions
from gan_cli.config.options.networks import CONVOLUTIONAL, DISCRIMINATORS, GENERATORS, ArchitectureOptions
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
    "ArchitectureOptions",
    "EvaluationOptions",
    "HealthOptions",
    "TrainingOptions",
    "rule_of",
]
