"""`init_from=CKPT`: a new run with the architecture and the fitting weights of another run, and new optimizers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from gan_cli.config import train_config
from gan_cli.config.compatibility import validate
from gan_cli.config.schema import format_value
from gan_cli.config.train_config import Config
from gan_cli.errors import UsageError
from gan_cli.state import checkpoint
from gan_cli.state.checkpoint import Checkpoint

KEYS = (
    "architecture",
    "image_size",
    "conditioning",
)  # from the checkpoint; the last two unless the user set them


def find_base(config: Config) -> Checkpoint:
    """Loads the checkpoint that `init_from` names: a file, a run's folder, or the newest run of a name."""
    return checkpoint.load_named(str(config.init_from), "init_from", config.output)


def adopt_networks(config: Config, saved: Config, named: tuple[str, ...]) -> Config:
    """The config with the architecture of the saved one, validated; image size and conditioning too, unless named.

    The classes stay those of the data. UsageError if a named key asks for another architecture, or if one of the two
    is for points and the other for images.
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
    """Whether a difference between two configs comes from `init_from`: its key is one of KEYS and was not typed."""
    typed = {override.partition("=")[0].replace("/", ".") for override in overrides or ()}
    return difference.startswith(KEYS) and not difference.startswith(
        tuple(key for key in typed if key.startswith(KEYS))
    )


def _without_classes(conditioning: Any) -> Any:
    """The conditioning section with its classes left open, to be taken from the data."""
    if getattr(conditioning, "classes", None) is None:
        return conditioning
    return dataclasses.replace(conditioning, classes=None)


def describe_base(base: Checkpoint) -> str:
    """The checkpoint's path, step and digest in one line."""
    return f"{base.path}, step {base.counters.step:,}, sha256 {base.sha256}"


def _shape_error(config: Config, sample_shape: tuple[int, ...], saved: Config) -> UsageError:
    own, wanted = ("x".join(map(str, shape)) for shape in (sample_shape, saved.sample_shape))
    return UsageError(
        f"init_from={config.init_from}: its networks are for samples of {wanted}, dataset={config.dataset.name} has"
        f" {own}"
    )
