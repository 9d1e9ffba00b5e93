"""Validates plain data with the classes of keys, and turns pydantic's errors into one line for the user.

The same classes read the command line and the config of a checkpoint, so a hostile checkpoint meets the same checks as
a typo.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from gan_cli.config.options.fields import EachOf, OneOf, adapter, fields_of, inner_section
from gan_cli.errors import UsageError, did_you_mean, format_number, one_line, short_exponent, suggestion

UNKNOWN_KEY = ("unexpected_keyword_argument", "extra_forbidden")
SECTION = "expected a section of keys"
KINDS = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text"}
BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def parse(cls: type, data: Any, path: str = "") -> Any:
    """Returns an instance of `cls` for the mapping at the dotted key `path`.

    Raises UsageError with the dotted key, its value and what is allowed.
    """
    if not isinstance(data, Mapping) or not all(isinstance(name, str) for name in data):
        raise UsageError(f"{path or 'config'}={format_value(data)}: {SECTION}")
    try:
        return adapter(cls).validate_python(dict(data))
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        chosen = next((each for each in errors if each["type"] in UNKNOWN_KEY), errors[0])
        raise UsageError(_message(cls, data, chosen["type"], chosen["loc"], path)) from error


def _message(cls: type, value: Any, kind: str, location: Sequence[int | str], path: str) -> str:
    """Returns the line for an error of pydantic's type `kind` at `location` in `value`, which is no valid `cls`."""
    node: type | EachOf | FieldInfo = cls
    for name in map(str, location):
        if isinstance(node, FieldInfo):
            break  # what follows is a place in the value of a key
        known: Mapping[str, Any] = node.table if isinstance(node, EachOf) else fields_of(node)
        dotted = f"{path}.{name}" if path else name
        if name not in known:
            similar = did_you_mean(name, known)
            return f"unknown key {dotted}{similar}: expected one of {', '.join(sorted(known)) or 'none'}"
        value, path, node = value.get(name), dotted, known[name]
        if isinstance(node, FieldInfo):
            node = inner_section(node, value) or node
    if kind == "missing":
        return f"{path} is missing: set {path}=..."
    if isinstance(node, FieldInfo):
        return _refusal(node, value, path)
    return f"{path}={format_value(value)}: {SECTION}"


def _refusal(field: FieldInfo, value: Any, path: str) -> str:
    """Returns the line for a value that a key, or a section whose option has a name, does not accept."""
    table = next((mark.table for mark in field.metadata if isinstance(mark, OneOf)), None)
    if table is not None:
        if not isinstance(value, Mapping):
            return f"{path}={format_value(value)}: {SECTION}"
        name = value.get("name")
        return (
            f"{path}={format_value(name)}: expected one of {', '.join(sorted(table))}{did_you_mean(str(name), table)}"
        )
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    instead: Any = extra.get("instead", {})
    words, choices = [str(item) for item in value] if isinstance(value, list) else [str(value)], choices_of(field)
    for text in (*words, *(["[]"] if isinstance(value, list) else [])):
        if text.lower() in instead:
            return f"{path}={format_value(value)}: {instead[text.lower()]}"
    wrong = next((word for word in words if word not in choices), "")
    similar = did_you_mean(wrong, choices) or suggestion(_with_short_unit(field, wrong))
    return f"{path}={format_value(value)}: expected {describe(field.annotation, field)}{similar}"


def _with_short_unit(field: FieldInfo, text: str) -> str | None:
    """Returns a time with its unit in one letter, `20m` for `20 min`; None if the key accepts no such text."""
    time = re.sub(r"^([\d.]+) *([smh])[a-z]*$", r"\1\2", text.lower())
    pattern = next((mark.pattern for mark in field.metadata if getattr(mark, "pattern", None)), None)
    return time if pattern and time != text and re.match(pattern, time) else None


def format_value(value: Any) -> str:
    """Returns a value as a user would write it on the command line, as one line of at most 80 characters."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return one_line("[" + ",".join(map(format_value, value)) + "]", 80)
    if isinstance(value, float):
        texts = [str(value)]
        if value.is_integer() and abs(value) >= 1e5:
            texts.append(f"{Decimal(str(value)).normalize():e}")  # `1e12`, which Python writes as 1000000000000.0
        return min(map(short_exponent, texts), key=len)
    try:
        return one_line(value, 80)
    except ValueError:  # Python refuses to write out an integer of thousands of digits
        return "a number of thousands of digits"


# --- what a key accepts, in words --------------------------------------------------------------------------------


def describe(annotation: Any, *marks: Any) -> str:
    """Returns a text that says which values a type accepts. `marks` are pydantic's, for limits such as `Ge(1)`."""
    kinds = list(alternatives(annotation, *marks))
    words = [str(word) for kind, _ in kinds if typing.get_origin(kind) is Literal for word in typing.get_args(kind)]
    words.sort()
    ways = [_scalar(kind, limits) for kind, limits in kinds if kind in KINDS]
    if words:
        ways = [*words, *ways] if ways else [f"one of {', '.join(words)}"]
    for kind, limits in kinds:
        if typing.get_origin(kind) is tuple:
            item = describe(typing.get_args(kind)[0])
            if limits.get("min_length") == 1:
                ways.append(item.replace("one of", "one or more of", 1))
                continue
            of = f" of {limits['min_length']}" if "min_length" in limits else ""
            items = " numbers" if of and item == KINDS[float] else f", each {item}"
            ways.append(f"a list{of}{' of such' if item in ways else items}")
    text, or_null = " or ".join(ways), any(kind is types.NoneType for kind, _ in kinds)
    return f"{text}{',' if ',' in text else ''} or null" if or_null else text


def alternatives(annotation: Any, *marks: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yields each type of a union with its limits: plain types, `Literal[...]`, `tuple[item, ...]` and NoneType."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        yield from alternatives(arguments[0], *arguments[1:], *marks)
    elif origin in (typing.Union, types.UnionType):
        for each in arguments:
            yield from alternatives(each, *marks)
    else:
        yield annotation, _limits(marks)


def choices_of(field: FieldInfo) -> list[str]:
    """Returns the words that a key, or an item of its list, accepts, sorted; no word if it accepts other values too."""
    kinds = [kind for kind, _ in alternatives(field.annotation) if kind is not types.NoneType]
    if len(kinds) == 1 and typing.get_origin(kinds[0]) is tuple:
        kinds = [kind for kind, _ in alternatives(typing.get_args(kinds[0])[0])]
    if any(kind in KINDS for kind in kinds):
        return []
    return sorted(word for kind in kinds for word in typing.get_args(kind) if isinstance(word, str))


def _limits(marks: Sequence[Any]) -> dict[str, Any]:
    """Returns the limits in pydantic's marks by their names in `Field`, with the title of the key if it has one."""
    found: dict[str, Any] = {}
    for mark in marks:
        if isinstance(mark, FieldInfo):
            found |= _limits(mark.metadata) | ({"title": mark.title} if mark.title else {})
        names = (*BOUNDS, "min_length")
        found |= {name: getattr(mark, name) for name in names if getattr(mark, name, None) is not None}
    return found


def _scalar(kind: type, limits: Mapping[str, Any]) -> str:
    bounds = [f"{words} {format_number(limits[name])}" for name, words in BOUNDS.items() if name in limits]
    return limits.get("title") or f"{KINDS[kind]} {' and '.join(bounds)}".strip()
