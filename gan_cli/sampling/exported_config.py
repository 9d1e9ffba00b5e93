"""Reads `config.json` of an exported generator, which says how to build and call it. The file is untrusted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_cli.config import schema, train_config
from gan_cli.config.options import CONDITIONING_OPTIONS, GENERATOR_OPTIONS
from gan_cli.config.schema import key, option_of
from gan_cli.errors import CheckpointError, GanCliError, one_line

MOST_BYTES = 4 << 20


@dataclass(frozen=True)
class Card:
    """The description of an exported generator: those fields of its `config.json` that gan-cli reads again."""

    gan_cli: str = key("version that wrote it")
    plugins: tuple[str, ...] = key("packages whose options it needs", absent=())
    dataset: str = key("name of the data set it learned")
    sample_shape: tuple[int, ...] = key("of a sample: [channels,height,width] or [2]", at_least=1, at_most=1024)
    generator: Any = option_of(GENERATOR_OPTIONS, "the network")
    conditioning: Any = option_of(CONDITIONING_OPTIONS, "how samples of a class are requested")
    ema: bool = key("whether it is the averaged generator")
    step: int = key("generator updates done", at_least=0, at_most=10**12)
    checkpoint: str = key("sha256 of the checkpoint", pattern="[0-9a-f]{64}", pattern_means="64 hexadecimal digits")

    @property
    def classes(self) -> tuple[str, ...]:
        return getattr(self.conditioning, "classes", None) or ()


def read_card(path: Path) -> Card:
    """Reads `config.json` of an export and returns its description. Ignores unknown keys.

    Raises CheckpointError if the file cannot be read or its values are invalid.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise CheckpointError(f"{path}: larger than {MOST_BYTES >> 20} MiB, not written by gan-export")
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({one_line(error, 200)})") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: expected a JSON object, as gan-export writes it")
    known = {name: data[name] for name in Card.__dataclass_fields__ if name in data}
    try:
        train_config.require_plugins(known)
        return schema.parse(Card, known)
    except GanCliError as error:
        raise CheckpointError(f"{path}: {one_line(error, 300)}") from error
