"""Lists the keys of a command with their types, ranges and defaults, for `--help`, `explain=` and the docs."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml
from pydantic.fields import FieldInfo

from gan_cli.config.commands import SCHEMAS
from gan_cli.config.options.fields import walk
from gan_cli.config.search_path import config_folder, find_option_files
from gan_cli.config.train_config import flatten
from gan_cli.config.validation import BOUNDS, alternatives, choices_of, format_value, limits_of

TYPES = {int: "whole number", float: "number", bool: "true or false", str: "text", types.NoneType: "null"}
LARGE = 10**9  # limits from here on only refuse nonsense, and are not shown


class Key(NamedTuple):
    """A key of a command. `option` is the option that has it, as `dataset=folder`; empty if the key is always there.

    `range` and `default` are empty if there is nothing to say. `default` is the value in `configs/`.
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
        facts = "; ".join(filter(None, [self.range, self.default and f"default {self.default}"]))
        return f"{self.description} ({facts})" if facts else self.description


def describe_keys(command: str) -> Iterator[Key]:
    """Yields each key of a command, once for each option that has it."""
    values = {"": default_values(command)}
    for dotted, option, field in walk(SCHEMAS[command]):
        if option not in values:
            values[option] = _option_values(option)
        value = values[""].get(dotted, values[option].get(dotted))
        default = "" if value in (None, []) else format_value(value)
        yield Key(dotted, option, _type_text(field.annotation), _range_text(field), default, field.description or "")


def list_keys(command: str) -> dict[str, Key]:
    """Returns the keys of a command by dotted key. Of several options with the key, that with the longest text is used.

    Its default is left out if the options have different ones.
    """
    found: dict[str, Key] = {}
    for each in describe_keys(command):
        best = max(found.get(each.key, each), each, key=lambda key: len(key.description + key.range))
        same = found.get(each.key, each).default == each.default
        found[each.key] = best if same else best._replace(default="")
    return found


def default_values(command: str) -> dict[str, Any]:
    """Returns the values in `configs/<command>.yaml` by dotted key."""
    return _read_values(config_folder() / f"{command}.yaml")


def _option_values(option: str) -> dict[str, Any]:
    """Returns the values that the file of an option, as `dataset=folder`, sets, by dotted key."""
    group, _, name = option.partition("=")
    files = find_option_files(group, name)
    return _read_values(files[0], group.replace("/", ".")) if files else {}


@cache
def _read_values(path: Path, section: str = "") -> dict[str, Any]:
    """Returns the values in a YAML file by dotted key, with those of the files that it takes over."""
    text = path.read_text(encoding="utf-8")
    content = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text).get_single_data()  # in C where it can
    named = [base.partition("@")[0] for base in content.pop("defaults", ()) if isinstance(base, str)]
    bases = [(config_folder() if base[0] == "/" else path.parent) / f"{base.lstrip('/')}.yaml" for base in named]
    values = {key: value for base in bases if base.is_file() for key, value in _read_values(base, section).items()}
    return values | dict(flatten(content, "" if "@package _global_" in text else section))


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
