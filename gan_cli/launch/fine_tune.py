"""`init_from=CKPT`: starts a new run with the architecture and the weights of another run, and with new optimizers.

Only those weights are used that fit the networks of the new run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from gan_cli.config import train_config
from gan_cli.config.compatibility import validate
from gan_cli.config.train_config import Config
from gan_cli.config.validation import format_value
from gan_cli.errors import UsageError
from gan_cli.state import checkpoint
from gan_cli.state.checkpoint import Checkpoint

KEYS = (
    "architecture",
    "image_size",
    "conditioning",
)  # sections taken from the checkpoint; the last two only if the user did not set them


def find_base(config: Config) -> Checkpoint:
    """Loads and returns the checkpoint that `init_from` names: a file, a run's folder, or the name of a run."""
    return checkpoint.load_named(str(config.init_from), "init_from", config.output)


def adopt_networks(config: Config, saved: Config, named: tuple[str, ...]) -> Config:
    """Returns the validated config with the architecture taken from the `saved` config.

    Image size and conditioning are taken from `saved` too, unless the user named them; the classes are left open, to be
    taken from the data. Raises UsageError if a named key asks for another architecture, or if one config is for points
    and the other for images.
    """
    adopted = dataclasses.replace(config, architecture=saved.architecture)
    if "image_size" not in named:
        adopted = dataclasses.replace(adopted, image_size=saved.image_size)
    if not any(key.startswith("conditioning") for key in named):
        adopted = dataclasses.replace(adopted, conditioning=_without_classes(saved.conditioning))
    own, wanted = (dict(train_config.flatten(train_config.to_dict(each))) for each in (config, adopted))
    for key in named:
        parts = [dotted for dotted in own.keys() | wanted.keys() if dotted == key or dotted.startswith(f"{key}.")]
        for dotted in sorted(parts) if key.startswith("architecture") else ():
            if own.get(dotted) != wanted.get(dotted):
                raise UsageError(
                    f"{dotted}={format_value(own.get(dotted))}: the networks of init_from={config.init_from} have"
                    f" {format_value(wanted.get(dotted))}; leave {key} out"
                )
    if len(config.sample_shape) != len(saved.sample_shape):
        raise _shape_error(config, config.sample_shape, saved)
    validate(adopted)
    return adopted


def set_by_init_from(difference: str, overrides: Sequence[str] | None) -> bool:
    """Returns True if `init_from` caused this difference between two configs.

    This is so if the key belongs to a section of KEYS and the user gave no override for it. `difference` is a text
    `key=value (was value)`, and `overrides` are the user's overrides.
    """
    typed = {override.partition("=")[0].replace("/", ".") for override in overrides or ()}
    return difference.startswith(KEYS) and not difference.startswith(
        tuple(key for key in typed if key.startswith(KEYS))
    )


def _without_classes(conditioning: Any) -> Any:
    """Returns the conditioning section with `classes` set to None, so that the classes are taken from the data."""
    if getattr(conditioning, "classes", None) is None:
        return conditioning
    return dataclasses.replace(conditioning, classes=None)


def describe_base(base: Checkpoint) -> str:
    """Returns one line with the checkpoint's path, step and sha256."""
    return f"{base.path}, step {base.counters.step:,}, sha256 {base.sha256}"


def _shape_error(config: Config, sample_shape: tuple[int, ...], saved: Config) -> UsageError:
    own, wanted = ("x".join(map(str, shape)) for shape in (sample_shape, saved.sample_shape))
    return UsageError(
        f"init_from={config.init_from}: its networks are for samples of {wanted}, dataset={config.dataset.name} has"
        f" {own}"
    )
