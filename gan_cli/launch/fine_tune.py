"""`init_from=CKPT`: a new run with the networks of an old one and the weights that fit, and fresh optimizers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from gan_cli.config import train_config
from gan_cli.config.schema import shown
from gan_cli.config.train_config import Config
from gan_cli.errors import UsageError
from gan_cli.state import checkpoint
from gan_cli.state.checkpoint import Checkpoint

KEYS = ("architecture", "image_size", "conditioning")  # what the checkpoint decides, the last two unless named


def find_base(config: Config) -> Checkpoint:
    """What `init_from` names: a file, a run's folder, or the newest run of a name."""
    return checkpoint.find(str(config.init_from), "init_from", config.output)


def adopt_networks(config: Config, saved: Config, named: tuple[str, ...]) -> Config:
    """The config with the architecture of the one that it starts from, and unless the user named others its image size
    and way of conditioning, validated.

    The classes are those of the data. UsageError if a named key has another architecture, or for points and images.
    """
    adopted = dataclasses.replace(config, architecture=saved.architecture)
    if "image_size" not in named:
        adopted = dataclasses.replace(adopted, image_size=saved.image_size)
    if not any(key.startswith("conditioning") for key in named):
        adopted = dataclasses.replace(adopted, conditioning=_without_classes(saved.conditioning))
    mine, theirs = (dict(train_config.flatten(train_config.to_dict(each))) for each in (config, adopted))
    for key in named:
        parts = [dotted for dotted in mine.keys() | theirs.keys() if dotted == key or dotted.startswith(f"{key}.")]
        for dotted in sorted(parts) if key.startswith("architecture") else ():
            if mine.get(dotted) != theirs.get(dotted):
                raise UsageError(
                    f"{dotted}={shown(mine.get(dotted))}: the networks of init_from={config.init_from} have"
                    f" {shown(theirs.get(dotted))}; leave {key} out"
                )
    if len(config.sample_shape) != len(saved.sample_shape):
        raise _misfit(config, config.sample_shape, saved)
    train_config.validate(adopted)
    return adopted


def brought_by_base(difference: str, overrides: Sequence[str] | None) -> bool:
    """Whether a difference between two configs may come from `init_from`: it is in such a key, which nobody typed."""
    typed = {override.partition("=")[0].replace("/", ".") for override in overrides or ()}
    return difference.startswith(KEYS) and not difference.startswith(
        tuple(key for key in typed if key.startswith(KEYS))
    )


def _without_classes(conditioning: Any) -> Any:
    """The same way of asking, of classes that are yet to be known."""
    if getattr(conditioning, "classes", None) is None:
        return conditioning
    return dataclasses.replace(conditioning, classes=None)


def describe_base(base: Checkpoint) -> str:
    return f"{base.path}, step {base.counters.step:,}, sha256 {base.sha256}"


def _misfit(config: Config, have: tuple[int, ...], saved: Config) -> UsageError:
    mine, theirs = ("x".join(map(str, shape)) for shape in (have, saved.sample_shape))
    return UsageError(
        f"init_from={config.init_from}: its networks are for samples of {theirs}, dataset={config.dataset.name} has"
        f" {mine}"
    )
