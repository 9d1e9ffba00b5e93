"""Lists the keys of a command with the values they accept and their defaults, for `--help`, `explain=` and the docs."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from gan_cli.cli.default_values import default_values
from gan_cli.config.commands import SCHEMAS
from gan_cli.config.options.fields import walk
from gan_cli.config.validation import BOUNDS, alternatives, format_value
from gan_cli.errors import format_number

NUMBERS = {int: "whole number", float: "number"}
LARGE = 10**9  # limits from here on only refuse nonsense, and are not shown


class Key(NamedTuple):
    """A key of a command, the same for all of its `options` but for the default. Without options it is always there.

    `defaults` are pairs of a value and the options with it. That of a command line without arguments comes first, with
    an empty text in place of options. A default of null is left out.
    """

    key: str
    options: str  # as `dataset=grid, ring`
    plain: bool  # whether a command line without arguments has the key
    values: tuple[str, ...]  # words as `auto`, and descriptions as `whole number 1 to 64`
    defaults: tuple[tuple[str, str], ...]
    description: str

    @property
    def default(self) -> str:
        """The defaults, as `64; 32 with dcgan, mlp`."""
        return "; ".join(f"{value} with {options}" if options else value for value, options in self.defaults)

    @property
    def line(self) -> str:
        """The description with the accepted values, the defaults, and the options unless they are chosen by default."""
        options = "" if self.plain else f"{self.options}: "
        default = f"; default {self.default}" if self.defaults else ""
        return f"{options}{self.description} ({join(self.values)}{default})"


def list_keys(command: str) -> dict[str, list[Key]]:
    """Returns the keys of a command by dotted key.

    If a key has another meaning, or accepts other values, with other options, it is in the list once for each. That of
    a command line without arguments comes first.
    """
    values, declared = {"": default_values(command)}, dict[tuple[str, str, tuple[str, ...]], dict[str, Any]]()
    for dotted, option, field in walk(SCHEMAS[command]):
        if option not in values:
            values[option] = default_values(command, option)
        accepted = tuple(accepted_values(field.annotation, field))
        declared.setdefault((dotted, field.description or "", accepted), {})[option] = values[option]
    found: dict[str, list[Key]] = {}
    for (dotted, description, accepted), form in declared.items():
        plain = any(_is_plain(option, dotted, of_option, values[""]) for option, of_option in form.items())
        defaults = _defaults(dotted, values[""] if plain else {}, form)
        same = found.setdefault(dotted, [])
        same.insert(0 if plain else len(same), Key(dotted, _names([*form]), plain, accepted, defaults, description))
    return found


def _is_plain(option: str, dotted: str, of_option: Mapping[str, Any], plain: Mapping[str, Any]) -> bool:
    """Returns whether a command line without arguments, with the values `plain`, has the option, and its key."""
    name = f"{option.partition('=')[0].replace('/', '.')}.name"
    return dotted in plain and plain.get(name) == of_option.get(name)


def _defaults(key: str, plain: Mapping[str, Any], form: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """Returns `Key.defaults` of a key. `plain` are the values of a command line without arguments, if it has it."""
    first = plain.get(key)
    found = {} if first is None else {format_value(first): list[str]()}
    for option, values in form.items():
        if option and values.get(key) not in (None, first):
            found.setdefault(format_value(values[key]), []).append(option.partition("=")[2])
    return tuple((value, "" if len(found) == 1 else ", ".join(options)) for value, options in found.items())


def _names(options: Sequence[str]) -> str:
    """Returns options of a group as one text, as `dataset=grid, ring`."""
    named = [option.partition("=") for option in options if option]
    return f"{named[0][0]}={', '.join(name for _, _, name in named)}" if named else ""


def accepted_values(annotation: Any, *marks: Any) -> Iterator[str]:
    """Yields the values that a type accepts, as `auto` and `whole number 1 to 64`. `marks` are pydantic's limits."""
    for kind, limits in alternatives(annotation, *marks):
        if typing.get_origin(kind) is Literal:
            yield from map(str, sorted(typing.get_args(kind)))
        elif typing.get_origin(kind) is tuple:
            item, count = join([*accepted_values(typing.get_args(kind)[0])]), limits.get("min_length")
            yield f"list of {f'{count} ' if count else ''}{item.replace('number', 'numbers', 1)}"
        elif kind in NUMBERS:
            yield f"{NUMBERS[kind]} {_range_text(limits)}".strip()
        elif kind is bool:
            yield from ("true", "false")
        else:
            yield limits.get("title", "text") if kind is str else "null"


def _range_text(limits: Mapping[str, Any]) -> str:
    """Returns for example `1 to 64`, `above 0`, `at least 0 and below 1`; an empty text without limits."""
    shown = {name: value for name, value in limits.items() if name in BOUNDS and abs(value) < LARGE}
    if {"ge", "le"} <= shown.keys():
        return f"{format_number(shown['ge'])} to {format_number(shown['le'])}"
    return " and ".join(f"{BOUNDS[name]} {format_number(value)}" for name, value in shown.items())


def join(words: Sequence[str]) -> str:
    """Returns words as one text, as `auto, fp32 or bf16`."""
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
