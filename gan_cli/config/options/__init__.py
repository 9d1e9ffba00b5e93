"""The options of gan-train: one frozen dataclass per option, and tables of them by name.

A dataclass declares type, range and meaning of each key; the values are in `configs/`. Imports no torch, so that help
and error messages are fast.
"""

from gan_cli.config.options.conditioning import CONDITIONING_OPTIONS, UNCONDITIONAL
from gan_cli.config.options.datasets import DATASET_OPTIONS
from gan_cli.config.options.evaluation import EVALUATION_IF_ABSENT, EvaluationOptions
from gan_cli.config.options.health import HEALTH_IF_ABSENT, HealthOptions
from gan_cli.config.options.loop import DEVICE_OPTIONS, TrainingOptions
from gan_cli.config.options.networks import CONVOLUTIONAL, DISCRIMINATOR_OPTIONS, GENERATOR_OPTIONS, ArchitectureOptions
from gan_cli.config.options.objectives import GRADIENT_PENALTIES, LOSS_OPTIONS, REGULARIZER_OPTIONS
from gan_cli.config.options.optimizers import OPTIMIZER_OPTIONS, optimizer_settings

__all__ = [
    "CONDITIONING_OPTIONS",
    "CONVOLUTIONAL",
    "DATASET_OPTIONS",
    "DEVICE_OPTIONS",
    "DISCRIMINATOR_OPTIONS",
    "EVALUATION_IF_ABSENT",
    "GENERATOR_OPTIONS",
    "GRADIENT_PENALTIES",
    "HEALTH_IF_ABSENT",
    "LOSS_OPTIONS",
    "OPTIMIZER_OPTIONS",
    "REGULARIZER_OPTIONS",
    "UNCONDITIONAL",
    "ArchitectureOptions",
    "EvaluationOptions",
    "HealthOptions",
    "TrainingOptions",
    "optimizer_settings",
]
