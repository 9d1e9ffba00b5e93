"""Configs, and the overrides of small, fast runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from omegaconf import OmegaConf

from gan_cli.config.compatibility import parse_config
from gan_cli.config.compose import compose_command
from gan_cli.config.options.published_datasets import DATASET_OPTIONS
from gan_cli.config.overrides import quote_literals
from gan_cli.config.search_path import user_config_folders
from gan_cli.config.train_config import Config
from gan_cli.config.validation import parse
from support.paths import ROOT

# Small images and networks without a download: a step takes a few milliseconds.
TINY_IMAGES = (
    "dataset=shapes",
    "dataset.size=200",
    "image_size=16",
    "architecture.generator.base_channels=4",
    "architecture.generator.latent_dim=8",
    "architecture.discriminator.base_channels=4",
    "batch_size=8",
    "threads=1",
    "training.log_every=1",
    "training.sample_every=0",
    "training.checkpoint_every=0",
)


NEEDED_BY = {  # what an option needs to make sense at all: the task by which its network gets an image, or a network
    "unet": ("task=translation", "task.source=edges"),
    "pix2pix": ("task=translation", "task.source=edges"),
    "translation": ("task.source=edges",),
    "gated_unet": ("task=inpainting",),
    "edsr": ("task=super_resolution",),
    "reconstruction": ("architecture=fastgan",),
    "path_length": ("architecture=stylegan2",),
    **dict.fromkeys(("l1", "l2", "gradient_difference", "feature_matching", "perceptual"), ("task=inpainting",)),
}


def compose(*overrides: str) -> Config:
    """Returns the validated config of a `gan-train` command line."""
    return (_compose.__wrapped__ if user_config_folders() else _compose)(*overrides)


@cache
def _compose(*overrides: str) -> Config:
    return parse_config(compose_command("train", [quote_literals(override) for override in overrides]).data)


def without(overrides: Sequence[str], *prefixes: str) -> list[str]:
    """Returns the overrides that begin with none of the prefixes."""
    return [override for override in overrides if not override.startswith(prefixes)]


def dataset_section(name: str, **values: Any) -> Any:
    """Returns the section `dataset` of a config: the values of the option's file, and these. It composes nothing."""
    written: Any = OmegaConf.to_container(OmegaConf.load(ROOT / f"configs/dataset/{name}.yaml"))
    return parse(DATASET_OPTIONS[name], {**written["dataset"], **values}, "dataset")
