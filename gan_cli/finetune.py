"""`init_from=CKPT`: a new run with the networks and weights of an old one, and fresh optimizers."""

from __future__ import annotations

import dataclasses

from gan_cli import checkpoint
from gan_cli import config as configs
from gan_cli.checkpoint import Checkpoint
from gan_cli.config import Config
from gan_cli.errors import UsageError
from gan_cli.schema import shown

KEYS = ("architecture", "image_size", "conditioning")  # what the checkpoint decides


def find_base(config: Config) -> Checkpoint:
    """What `init_from` names: a file, a run's folder, or the newest run of a name."""
    return checkpoint.find(str(config.init_from), "init_from", config.output)


def adopt_networks(config: Config, saved: Config, named: tuple[str, ...]) -> Config:
    """The config with the architecture and image size of the one that it starts from, validated.

    UsageError if a key that the user named says otherwise, or if the data have other samples than its networks.
    """
    adopted = dataclasses.replace(config, **{key: getattr(saved, key) for key in KEYS})
    mine, theirs = (dict(configs.flatten(configs.to_dict(each))) for each in (config, adopted))
    for key in named:
        parts = [dotted for dotted in mine.keys() | theirs.keys() if dotted == key or dotted.startswith(f"{key}.")]
        for dotted in sorted(parts) if key.startswith(KEYS) else ():
            if mine.get(dotted) != theirs.get(dotted) and dotted != configs.RECORDED:
                raise UsageError(
                    f"{dotted}={shown(mine.get(dotted))}: the networks of init_from={config.init_from} have"
                    f" {shown(theirs.get(dotted))}; leave {key} out"
                )
    if len(config.sample_shape) != len(saved.sample_shape):
        raise _misfit(config, config.sample_shape, saved)
    configs.validate(adopted)
    if adopted.sample_shape != saved.sample_shape:
        raise _misfit(config, adopted.sample_shape, saved)
    return adopted


def describe_base(base: Checkpoint) -> str:
    return f"{base.path}, step {base.counters.step:,}, sha256 {base.sha256}"


def _misfit(config: Config, have: tuple[int, ...], saved: Config) -> UsageError:
    mine, theirs = ("x".join(map(str, shape)) for shape in (have, saved.sample_shape))
    return UsageError(
        f"init_from={config.init_from}: its networks are for samples of {theirs}, dataset={config.dataset.name} has"
        f" {mine}"
    )
