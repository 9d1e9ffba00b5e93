"""Declares the options of gan-train: a frozen dataclass for each option, and tables of these dataclasses by name.

A dataclass declares the type, the range and the meaning of each key. The default values are in `configs/`. Imports no
torch, so that help and error messages appear fast.
"""

from gan_cli.config.options.conditioning import CONDITIONING_OPTIONS, UNCONDITIONAL
from gan_cli.config.options.datasets import DATASET_OPTIONS
from gan_cli.config.options.evaluation import EVALUATION_IF_ABSENT, EvaluationOptions
from gan_cli.config.options.health import HEALTH_IF_ABSENT, HealthOptions
from gan_cli.config.options.loop import DEVICE_OPTIONS, TrainingOptions
from gan_cli.config.options.networks import CONVOLUTIONAL, DISCRIMINATOR_OPTIONS, GENERATOR_OPTIONS, ArchitectureOptions
from gan_cli.config.options.objectives import GRADIENT_PENALTIES, LOSS_OPTIONS, REGULARIZER_OPTIONS
from gan_cli.config.options.optimizers import OPTIMIZER_OPTIONS, optimizer_settings
from gan_cli.config.options.published_datasets import PUBLISHED_OPTIONS

DATASET_OPTIONS.update(PUBLISHED_OPTIONS)

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
