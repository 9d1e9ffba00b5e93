"""Lists the keys of a command with their types, ranges and defaults, for `--help`, `explain=` and the docs."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, NamedTuple

import yaml
from pydantic.fields import FieldInfo

from gan_cli.config.commands import SCHEMAS
from gan_cli.config.options.fields import walk
from gan_cli.config.search_path import config_folder
from gan_cli.config.train_config import flatten
from gan_cli.config.validation import BOUNDS, alternatives, choices_of, format_value, limits_of

TYPES = {int: "whole number", float: "number", bool: "true or false", str: "text", types.NoneType: "null"}
LARGE = 10**9  # limits from here on only refuse nonsense, and are not shown


class Key(NamedTuple):
    """A key of a command. `option` is the option that has it, as `dataset=folder`; empty if every option has it.

    `range` and `default` are empty if there is nothing to say; `default` is that of `configs/<command>.yaml`.
    """

    key: str
    option: str
    type: str
    range: str
    default: str
    description: str

    @property
    def line(self) -> str:
        """The description with range and default, as `--help` shows it."""
        facts = [self.range, f"default {self.default}" if self.default else ""]
        shown = "; ".join(filter(None, facts))
        return f"{self.description} ({shown})" if shown else self.description


def describe_keys(command: str) -> Iterator[Key]:
    """Yields each key of a command, once for each option that has it."""
    defaults = _defaults(command)
    for dotted, option, field in walk(SCHEMAS[command]):
        default = format_value(defaults[dotted]) if defaults.get(dotted) not in (None, []) else ""
        yield Key(dotted, option, _type_text(field.annotation), _range_text(field), default, field.description or "")


def list_keys(command: str) -> dict[str, str]:
    """Returns the help line of each key of a command. Of several options' lines for one key, the longest is used."""
    lines: dict[str, str] = {}
    for each in describe_keys(command):
        lines[each.key] = max(lines.get(each.key, ""), each.line, key=len)
    return lines


@cache
def _defaults(command: str) -> dict[str, Any]:
    """Returns the values in `configs/<command>.yaml` by dotted key."""
    text = (config_folder() / f"{command}.yaml").read_text(encoding="utf-8")
    return dict(flatten(yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))))


def _type_text(annotation: Any) -> str:
    """Returns for example `whole number or null`, `text`, `list of text`."""
    texts = []
    for kind, _ in alternatives(annotation):
        if typing.get_origin(kind) is Literal:
            texts.append("word")
        elif typing.get_origin(kind) is tuple:
            texts.append(f"list of {_type_text(typing.get_args(kind)[0])}")
        else:
            texts.append(TYPES[kind])
    return " or ".join(dict.fromkeys(texts))


def _range_text(field: FieldInfo) -> str:
    """Returns for example `1 to 64`, `above 0`, `at least 0 and below 1` or `auto, fp32, bf16`; else an empty text."""
    words = choices_of(field)
    if words:
        return ", ".join(words)
    for kind, marks in alternatives(field.annotation, field):
        if kind in (int, float):
            limits = {name: value for name, value in limits_of(marks).items() if name in BOUNDS and abs(value) < LARGE}
            if {"ge", "le"} <= limits.keys():
                return f"{limits['ge']:,} to {limits['le']:,}"
            return " and ".join(f"{BOUNDS[name]} {value:,}" for name, value in limits.items())
    return ""
