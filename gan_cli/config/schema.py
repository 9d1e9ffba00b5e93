"""Parses plain mappings into typed, frozen dataclasses. Knows nothing of GANs and runs nothing that a file names.

The same parser reads the command line and the config of a checkpoint, so a hostile checkpoint meets the same checks as
a typo. Every field is declared with `key`; `gan-train --help` prints its help line.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, dataclass
from typing import Any

from gan_cli.errors import UsageError, did_you_mean, one_line


@dataclass(frozen=True)
class Limits:
    """The values that a key accepts, besides its type. None means no limit."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    choices: Collection[str] | None = None
    instead: Mapping[str, str] = dataclasses.field(default_factory=dict)  # for values that users often try, what to use
    pattern: str | None = None
    pattern_means: str = ""
    length: int | None = None  # of a list; the other limits apply to its items
    word: str | tuple[str, ...] | None = None  # texts that are accepted in place of a number, or of true

    def describe(self, kind: type) -> str:
        """Returns a text for messages that says which values of type `kind` are accepted."""
        if self.choices is not None:
            return f"one of {', '.join(self.choices)}"
        if self.pattern is not None:
            return self.pattern_means
        bounds = [
            f"{words} {bound:g}"
            for words, bound in (
                ("at least", self.at_least),
                ("above", self.above),
                ("at most", self.at_most),
                ("below", self.below),
            )
            if bound is not None
        ]
        word = "".join(f"{word} or " for word in self.words)
        return f"{word}{_KINDS[kind]} {' and '.join(bounds)}".strip()

    @property
    def words(self) -> tuple[str, ...]:
        """Returns `word` as a tuple."""
        return (self.word,) if isinstance(self.word, str) else self.word or ()

    def accepts(self, value: Any) -> bool:
        """Returns whether a value of the right type is within the limits."""
        if self.choices is not None and isinstance(value, str):
            return value in self.choices
        if self.pattern is not None:
            return re.fullmatch(self.pattern, value) is not None
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )


def key(help: str, *, absent: Any = MISSING, **limits: Any) -> Any:
    """Declares a config key with its one-line help; `limits` are fields of `Limits`.

    `absent` is the value for files that were written before the key existed; without it the key is required.
    """
    return dataclasses.field(metadata={"help": help, "limits": Limits(**limits), "absent": absent})


def option_of(table: Mapping[str, type], help: str, *, unnamed: type | None = None, absent: Any = MISSING) -> Any:
    """Declares a section whose `name` selects its dataclass from `table`; without a name the dataclass is `unnamed`.

    `absent` is as for `key`.
    """
    return dataclasses.field(metadata={"help": help, "table": table, "unnamed": unnamed, "absent": absent})


def options_of(table: Mapping[str, type], help: str) -> Any:
    """Declares a section with any number of members, each with its name in `table` as key."""
    return dataclasses.field(metadata={"help": help, "members": table})


def parse(cls: type, data: Any, path: str = "") -> Any:
    """Builds `cls` from a mapping. Raises UsageError with the dotted key, its value and what is allowed."""
    section = _mapping(data, path)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for name in section:
        if name not in fields:
            raise UsageError(_unknown(name, path, fields))
    hints = typing.get_type_hints(cls)
    values = {}
    for name, field in fields.items():
        if name not in section and field.metadata.get("absent", MISSING) is not MISSING:
            values[name] = field.metadata["absent"]
            continue
        if name not in section:
            raise UsageError(f"{_join(path, name)} is missing: set {_join(path, name)}=...")
        values[name] = _parse_field(field, hints[name], section[name], _join(path, name))
    return cls(**values)


def _parse_field(field: dataclasses.Field, hint: Any, value: Any, path: str) -> Any:
    """Returns the parsed value of one field, which may be declared by `option_of`, by `options_of` or by `key`."""
    if "table" in field.metadata:
        table, unnamed = field.metadata["table"], field.metadata["unnamed"]
        name = _mapping(value, path).get("name")
        if name is None and unnamed is not None:
            return parse(unnamed, value, path)
        if not isinstance(name, str) or name not in table:
            raise UsageError(f"{path}={name}: expected one of {', '.join(table)}{did_you_mean(str(name), table)}")
        return parse(table[name], value, path)
    if "members" in field.metadata:
        table = field.metadata["members"]
        members = _mapping(value, path)
        for name in members:
            if name not in table:
                raise UsageError(_unknown(name, path, table))
        return {name: parse(table[name], member, _join(path, name)) for name, member in members.items()}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return parse(hint, value, path)
    return _parse_value(hint, value, path, field.metadata["limits"])


def _parse_value(hint: Any, value: Any, path: str, limits: Limits) -> Any:
    """Returns the value converted to the type `hint`. Raises UsageError for another type or outside of the limits."""
    hints = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in hints:
        return None
    if value in limits.words:
        return value
    list_of = next((typing.get_args(each)[0] for each in hints if typing.get_origin(each) is tuple), None)
    kind = next((each for each in hints if each in _CONVERTERS), None)
    if list_of is not None and (isinstance(value, list | tuple) or kind is None):
        converted = _to_tuple(list_of, value, limits)
    else:
        converted = _to_one(kind, value, limits)
    if converted is None:
        if str(value) in limits.instead or (isinstance(value, list) and "[]" in limits.instead):
            raise UsageError(
                f"{path}={format_value(value)}: {limits.instead.get(str(value), limits.instead.get('[]'))}"
            )
        similar = did_you_mean(str(value), limits.choices) if limits.choices is not None else ""
        raise UsageError(f"{path}={format_value(value)}: expected {_allowed(hints, kind, list_of, limits)}{similar}")
    return converted


def _to_one(kind: Any, value: Any, limits: Limits) -> Any:
    """Returns the value converted to `kind`; None if the conversion is impossible or the limits are exceeded."""
    converted = _CONVERTERS[kind](value)
    return converted if converted is not None and limits.accepts(converted) else None


def _to_tuple(kind: Any, value: Any, limits: Limits) -> tuple[Any, ...] | None:
    """Returns the converted items; None if an item or the length is invalid. A single value is a list of one item."""
    items = value if isinstance(value, list | tuple) else [value]
    texts = [str(item) if kind is str and type(item) is int else item for item in items]
    converted = tuple(_to_one(kind, item, limits) for item in texts)
    right_length = len(converted) == limits.length if limits.length is not None else True
    return converted if right_length and None not in converted else None


def _allowed(hints: tuple[Any, ...], kind: Any, list_of: Any, limits: Limits) -> str:
    """Returns a text that says which values a key accepts."""
    ways = [limits.describe(kind)] if kind is not None else []
    if list_of is not None:
        many = f"{limits.length} of such" if limits.length is not None else "such"
        many = f"{limits.length} numbers" if kind is str and list_of is float else many
        ways.append(f"a list of {many}" if kind is not None else f"a list, each {limits.describe(list_of)}")
    return " or ".join([*ways, *(["null"] if type(None) in hints else [])])


def _to_int(value: Any) -> int | None:
    if type(value) is int:
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _to_float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


_KINDS = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text"}
_CONVERTERS = {
    int: _to_int,
    float: _to_float,
    bool: lambda value: value if isinstance(value, bool) else None,
    str: lambda value: value if isinstance(value, str) and value else None,
}


def _mapping(data: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping) or not all(isinstance(name, str) for name in data):
        raise UsageError(f"{path or 'config'}={format_value(data)}: expected a section of keys")
    return data


def _unknown(name: str, path: str, known: Collection[str]) -> str:
    """Returns the message for an unknown key."""
    return f"unknown key {_join(path, name)}{did_you_mean(name, known)}: expected one of {', '.join(known) or 'none'}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def format_value(value: Any) -> str:
    """Returns a value as a user would write it on the command line, as one line of at most 80 characters."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return one_line("[" + ",".join(map(format_value, value)) + "]", 80)
    try:
        return one_line(value, 80)
    except ValueError:  # Python refuses to write out an integer of thousands of digits
        return "a number of thousands of digits"


# --- help ---------------------------------------------------------------------------------------------------------


def list_keys(cls: type, path: str = "") -> Iterator[tuple[str, str]]:
    """Yields a pair (dotted key, help line) for each settable key. A key that several options have appears once."""
    lines: dict[str, str] = {}
    for dotted, line in _key_lines(cls, path):
        if not dotted.endswith(".name"):
            lines[dotted] = max(lines.get(dotted, ""), line, key=len)  # keeps the longest help line
    yield from lines.items()


def _key_lines(cls: type, path: str) -> Iterator[tuple[str, str]]:
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
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
            yield dotted, _help_line(field.metadata)


def _help_line(metadata: Mapping[str, Any]) -> str:
    choices = metadata["limits"].choices
    return metadata["help"] + (f" ({', '.join(choices)})" if choices else "")
