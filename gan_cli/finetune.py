"""`init_from=CKPT`: a new run with the networks and weights of an old one, and fresh optimizers."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from gan_cli import checkpoint
from gan_cli import config as configs
from gan_cli.config import Config
from gan_cli.errors import UsageError
from gan_cli.state import TrainState, load_network_tensors

KEYS = ("architecture", "image_size")  # what the checkpoint decides


def adopt_networks(config: Config, named: tuple[str, ...]) -> Config:
    """The config with the architecture and image size of the checkpoint that it starts from.

    UsageError if a key that the user named says otherwise, or if the data have other samples than its networks.
    """
    saved = checkpoint.find(_path(config)).config
    adopted = dataclasses.replace(config, architecture=saved.architecture, image_size=saved.image_size)
    mine, theirs = (dict(configs.flatten(configs.to_dict(each))) for each in (config, adopted))
    for key in named:
        parts = [dotted for dotted in mine.keys() | theirs.keys() if dotted == key or dotted.startswith(f"{key}.")]
        for dotted in sorted(parts) if key.split(".")[0] in KEYS else ():
            if mine.get(dotted) != theirs.get(dotted):
                raise UsageError(
                    f"{dotted}={mine.get(dotted)}: the networks of init_from={config.init_from} have"
                    f" {theirs.get(dotted)}; leave {key} out"
                )
    configs.validate(adopted)
    if adopted.sample_shape != saved.sample_shape:
        have, make = ("x".join(map(str, each.sample_shape)) for each in (adopted, saved))
        raise UsageError(
            f"init_from={config.init_from}: its networks are for samples of {make}, dataset={config.dataset.name} has"
            f" {have}"
        )
    return adopted


def take_weights(config: Config, state: TrainState) -> str:
    """Puts the checkpoint's weights into the networks; says which they are."""
    saved = checkpoint.find(_path(config))
    load_network_tensors(state, saved.tensors)
    return f"from {saved.path}, step {saved.counters.step:,}, sha256 {saved.sha256[:16]}"


def _path(config: Config) -> Path:
    return Path(os.path.expanduser(str(config.init_from)))
