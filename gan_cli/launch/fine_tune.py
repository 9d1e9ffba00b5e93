"""`init_from=CKPT`: starts a run with the architecture and the fitting weights of another run, and new optimizers."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

from gan_cli.config import train_config
from gan_cli.config.compatibility import validate
from gan_cli.config.options.fields import is_within
from gan_cli.config.options.tasks import WITH_IMAGE
from gan_cli.config.train_config import Config
from gan_cli.config.validation import format_value
from gan_cli.errors import UsageError

# Sections and keys that come from the checkpoint; the last two unless the user set them.
KEYS = ("architecture", "image_size", "conditioning")


def adopt_networks(config: Config, saved: Config, named: tuple[str, ...]) -> Config:
    """Returns the validated config with the architecture taken from the `saved` config.

    Image size and conditioning are taken from `saved` too, unless the user named them; the classes and their
    frequencies are left open, to be taken from the data. Raises UsageError if a named key asks for another
    architecture, if one config is for points and the other for images, or if one generator takes an image and the other
    noise alone.
    """
    taken: dict[str, Any] = {"architecture": saved.architecture}
    if "image_size" not in named:
        taken["image_size"] = saved.image_size
    if not any(key.startswith("conditioning") for key in named):
        recorded = [key.removeprefix("conditioning.") for key in train_config.RECORDED_KEYS]
        left_open = {key: None for key in recorded if hasattr(saved.conditioning, key)}
        taken["conditioning"] = dataclasses.replace(saved.conditioning, **left_open)
    adopted = dataclasses.replace(config, **taken)
    own, wanted = (dict(train_config.flatten(train_config.to_dict(each))) for each in (config, adopted))
    for key in [key for key in named if key.startswith("architecture")]:
        for dotted in sorted(own.keys() | wanted.keys()):
            if is_within(dotted, key) and own.get(dotted) != wanted.get(dotted):
                raise UsageError(
                    f"{dotted}={format_value(own.get(dotted))}: the networks of init_from={config.init_from} have"
                    f" {format_value(wanted.get(dotted))}; leave {key} out"
                )
    _check_task(config, saved)
    if len(config.sample_shape) != len(saved.sample_shape):
        has, needed = ("x".join(map(str, each.sample_shape)) for each in (config, saved))
        raise UsageError(
            f"init_from={config.init_from}: its networks are for samples of {needed}, dataset={config.dataset.name} has"
            f" {has}"
        )
    validate(adopted)
    return adopted


def _check_task(config: Config, saved: Config) -> None:
    """Raises UsageError if one of the generators makes samples from noise and the other one from an image."""
    task, network, start = config.task.name, saved.architecture.generator.name, f"init_from={config.init_from}"
    if task not in WITH_IMAGE and saved.task.name in WITH_IMAGE:
        raise UsageError(
            f"{start}: its generator {network} makes an image from an image, give task={saved.task.name}, as that run"
            " has"
        )
    if task in WITH_IMAGE and saved.task.name not in WITH_IMAGE:
        raise UsageError(
            f"{start}: its generator {network} makes samples from noise, task={task} needs one that takes an image;"
            " leave init_from or task out"
        )


def set_by_init_from(dotted: str, typed: Collection[str]) -> bool:
    """Returns whether a key comes from the checkpoint of `init_from`. `typed` are the keys of the command."""
    return dotted.startswith(KEYS) and not dotted.startswith(tuple(typed))
