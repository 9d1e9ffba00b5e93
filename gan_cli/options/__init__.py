"""The options of gan-train: one frozen dataclass per option, and tables of them by name.

A dataclass declares type, range and meaning of each key; the values are in `configs/`. Imports no torch, so that help
and error messages are fast.
"""

from gan_cli.options.conditioning import CONDITIONING_OPTIONS, UNCONDITIONAL
from gan_cli.options.datasets import DATASET_OPTIONS
from gan_cli.options.evaluation import UNEVALUATED, EvaluationOptions
from gan_cli.options.health import UNWATCHED, HealthOptions
from gan_cli.options.loop import DEVICE_OPTIONS, TrainingOptions
from gan_cli.options.networks import CONVOLUTIONAL, DISCRIMINATOR_OPTIONS, GENERATOR_OPTIONS, ArchitectureOptions
from gan_cli.options.objectives import GRADIENT_PENALTIES, LOSS_OPTIONS, REGULARIZER_OPTIONS
from gan_cli.options.optimizers import OPTIMIZER_OPTIONS, rule_of

__all__ = [
    "CONDITIONING_OPTIONS",
    "CONVOLUTIONAL",
    "DATASET_OPTIONS",
    "DEVICE_OPTIONS",
    "DISCRIMINATOR_OPTIONS",
    "GENERATOR_OPTIONS",
    "GRADIENT_PENALTIES",
    "LOSS_OPTIONS",
    "OPTIMIZER_OPTIONS",
    "REGULARIZER_OPTIONS",
    "UNCONDITIONAL",
    "UNEVALUATED",
    "UNWATCHED",
    "ArchitectureOptions",
    "EvaluationOptions",
    "HealthOptions",
    "TrainingOptions",
    "rule_of",
]
