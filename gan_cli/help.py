"""`--help`, written from the tables and dataclasses, so that it cannot lag behind them."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping

from gan_cli.compose import groups
from gan_cli.config import Config, SampleConfig

EXAMPLES = {
    "train": (
        ("gan-train", "the default: digits, in about a minute"),
        ("gan-train dataset=mnist loss=wasserstein", "a loss brings its recipe along"),
        ("gan-train experiment=ring", "8 Gaussians: see the modes"),
        ("gan-train budget=20m batch_size=128", "as much as fits the time"),
        ("gan-train dataset=folder dataset.path=~/cats", "your own pictures"),
        ("gan-train loss=hinge dry_run=true", "what it would train, and one step of it"),
        ("gan-train explain=wasserstein", "what an option is, when it works and when not"),
        ("gan-train resume=outputs/NAME/DATE", "go on where a run stopped"),
        ("gan-train -m loss=hinge,minimax seed=1,2,3", "a sweep: every combination"),
    ),
    "sample": (
        ("gan-sample ckpt=outputs/NAME/DATE", "64 new samples as one picture"),
        ("gan-sample ckpt=RUN n=1000 format=images", "a file for each"),
        ("gan-sample ckpt=RUN seeds=0-7,12 truncation=0.7", "these seeds, more typical samples"),
    ),
}
SCHEMAS = {"train": Config, "sample": SampleConfig}
FLAGS = (
    ("-m", "run every combination of comma-separated values"),
    ("--config-dir DIR", "know the options in a folder of your own, as in configs/ where you stand"),
    ("--cfg job", "print the composed config and exit"),
    ("--version", "print the version and exit"),
)


def help_text(command: str) -> str:
    """Examples, then groups and their options, then every key with its line."""
    schema = SCHEMAS[command]
    lines = [f"usage: gan-{command} [key=value ...]", "", "Examples"]
    lines += _columns(EXAMPLES[command])
    lines += ["", "Groups, chosen as group=option"]
    lines += _columns((group, ", ".join(options)) for group, options in groups(command).items())
    lines += ["", "Keys, set as key=value"]
    lines += _columns(key_lines(schema))
    flags = FLAGS if command == "train" else FLAGS[2:]
    return "\n".join([*lines, "", "Flags", *_columns(flags), ""])


def key_lines(schema: type, path: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, meaning) of every key that can be set, those of several options once."""
    lines: dict[str, str] = {}
    for dotted, meaning in _key_lines(schema, path):
        if not dotted.endswith(".name"):
            lines[dotted] = max(lines.get(dotted, ""), meaning, key=len)  # of two options' choices, the wider
    yield from lines.items()


def _key_lines(schema: type, path: str) -> Iterator[tuple[str, str]]:
    hints = typing.get_type_hints(schema)
    for field in dataclasses.fields(schema):
        dotted = f"{path}.{field.name}" if path else field.name
        if "table" in field.metadata:
            for option in dict.fromkeys(field.metadata["table"].values()):
                yield from _key_lines(option, dotted)
        elif "members" in field.metadata:
            for name, member in field.metadata["members"].items():
                yield from _key_lines(member, f"{dotted}.{name}")
        elif dataclasses.is_dataclass(hints[field.name]):
            yield from _key_lines(hints[field.name], dotted)
        else:
            yield dotted, _meaning(field.metadata)


def _meaning(metadata: Mapping[str, typing.Any]) -> str:
    choices = metadata["limits"].choices
    return metadata["help"] + (f" ({', '.join(choices)})" if choices else "")


def _columns(rows: typing.Iterable[tuple[str, str]]) -> list[str]:
    rows = list(rows)
    width = max(len(left) for left, _ in rows)
    return [f"  {left:<{width}}  {right}" for left, right in rows]
