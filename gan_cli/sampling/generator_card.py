"""The description of an exported generator, in the `config.json` beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from gan_cli.config import train_config
from gan_cli.config.options.conditioning import CONDITIONING_OPTIONS
from gan_cli.config.options.fields import Bool, Integer, Name, OneOf, Several, Text, matching, section
from gan_cli.config.options.networks.architectures import GENERATOR_OPTIONS
from gan_cli.config.options.tasks import TASK_OPTIONS, Generation
from gan_cli.config.validation import parse
from gan_cli.errors import CheckpointError, GanCliError, one_line
from gan_cli.storage.run_files import read_bytes

MAX_CARD_BYTES = 4 << 20


@section
class Card:
    """The description of an exported generator: those fields of its `config.json` that gan-cli reads again."""

    gan_cli: Text = Field(description="version that wrote it")
    plugins: Several[Name] = Field((), description="packages whose options it needs")
    dataset: Text = Field(description="name of the data set it learned")
    data_licences: Several[Text] = Field((), description="style and licence of drawn images that it learned")
    sample_shape: Several[Annotated[Integer, Field(ge=1, le=1024)]] = Field(
        description="of a sample: [channels,height,width] or [2]"
    )
    generator: Annotated[Any, OneOf(GENERATOR_OPTIONS)] = Field(description="the network")
    conditioning: Annotated[Any, OneOf(CONDITIONING_OPTIONS)] = Field(
        description="how samples of a class are requested"
    )
    task: Annotated[Any, OneOf(TASK_OPTIONS)] = Field(
        default_factory=lambda: Generation(name="generation"), description="what it is given and makes"
    )
    ema: Bool = Field(description="whether it is the averaged generator")
    step: Integer = Field(ge=0, le=10**12, description="generator updates done")
    checkpoint: Text = matching("[0-9a-f]{64}", "64 hexadecimal digits", description="sha256 of the checkpoint")

    @property
    def classes(self) -> tuple[str, ...]:
        return getattr(self.conditioning, "classes", None) or ()

    @property
    def frequencies(self) -> tuple[float, ...] | None:
        return getattr(self.conditioning, "frequencies", None)


def read_card(path: Path) -> Card:
    """Reads `config.json` of an export and returns its description. Ignores unknown keys.

    Raises CheckpointError if the file cannot be read or its values are invalid.
    """
    try:
        data = json.loads(read_bytes(path, MAX_CARD_BYTES, follow=True))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({one_line(error, 200)})") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: expected a JSON object, as gan-export writes it")
    known = {name: data[name] for name in Card.__dataclass_fields__ if name in data}
    try:
        train_config.require_plugins(known)
        return parse(Card, known)
    except GanCliError as error:
        raise CheckpointError(f"{path}: {one_line(error, 300)}") from error
