"""The types of config keys, and the decorator of the classes that declare keys. Imports no torch.

A class of keys is a frozen pydantic dataclass: `width: Integer = Field(ge=1, le=8192, description="...")`. The default
of a key is its value in files that were written before the key existed; without a default the key is required. The
values of new runs are in `configs/`. Modules of such classes have no `from __future__ import annotations`, since
pydantic would then evaluate the text of each annotation, which takes time at each start. In `Field`, `title` says in
words what a pattern or validator accepts, and `json_schema_extra={"instead": {...}}` maps values that users often try
to what to use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import FrozenInstanceError
from functools import cache
from typing import Annotated, Any, TypeVar, dataclass_transform

from pydantic import BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, StrictBool, TypeAdapter
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticCustomError, SchemaValidator, core_schema

T = TypeVar("T")
SETTINGS = ConfigDict(extra="forbid", defer_build=True, regex_engine="python-re")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(Field,))
def section(cls: type[T]) -> type[T]:
    """Makes a class the frozen pydantic dataclass of a section's keys. Other keys are refused."""
    text = cls.__doc__
    cls.__doc__ = text or " "  # without a text, `dataclass` writes the signature, which takes longer than all the rest
    decorated: Any = dataclass(cls, kw_only=True, repr=False, eq=False, config=SETTINGS)
    decorated.__doc__ = text
    # `dataclass` would compile these anew for each of 75 classes, which takes a tenth of the time of an error.
    decorated.__setattr__ = decorated.__delattr__ = _refuse_change
    decorated.__repr__, decorated.__eq__, decorated.__hash__ = _describe_keys, _has_same_keys, _hash_of_keys
    return decorated


def _refuse_change(self: Any, name: str, *value: Any) -> None:
    """Refuses to change a key, as a frozen dataclass does."""
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _describe_keys(self: Any) -> str:
    keys = ", ".join(f"{name}={getattr(self, name)!r}" for name in fields_of(type(self)))
    return f"{type(self).__qualname__}({keys})"


def _has_same_keys(self: Any, other: Any) -> bool:
    return vars(self) == vars(other) if type(self) is type(other) else NotImplemented


def _hash_of_keys(self: Any) -> int:
    return hash(tuple(vars(self).values()))


def matching(pattern: str, title: str, **settings: Any) -> Any:
    """Declares a text that the whole of `pattern` matches. `title` describes such texts."""
    return Field(pattern=rf"^(?:{pattern})$(?!\n)", title=title, **settings)


def _to_integer(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Bool = StrictBool
Integer = Annotated[int, Field(strict=True), BeforeValidator(_to_integer)]  # 1e4 is one, true and "5" are not
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Text = Annotated[str, Field(strict=True, min_length=1)]
Name = Annotated[Text, BeforeValidator(lambda value: str(value) if type(value) is int else value)]  # digits are names
OptionName = Annotated[Text, Field(description="the option's name")]
# A single value is a list of one.
Several = Annotated[tuple[T, ...], BeforeValidator(lambda data: data if isinstance(data, list | tuple) else (data,))]


@cache
def adapter(cls: type) -> TypeAdapter[Any]:
    """Returns the validator of a class of keys. It is built when it is first used, which keeps imports fast."""
    built: TypeAdapter[Any] = TypeAdapter(cls)
    built.rebuild()
    return built


def fields_of(cls: type) -> dict[str, FieldInfo]:
    """Returns the keys of a class that `section` decorated, each with its declaration."""
    return cls.__pydantic_fields__  # type: ignore[attr-defined]


class OneOf:
    """Marks a section whose `name` selects its class from `table`; without a name the class is `unnamed`.

    The table is read at each validation, so that plugins can add to it.
    """

    def __init__(self, table: Mapping[str, type], unnamed: type | None = None) -> None:
        self.table, self.unnamed = table, unnamed

    def select(self, value: Any) -> type | None:
        """Returns the class for the keys in `value`; None if `value` is no mapping or names no option of the table."""
        name = value.get("name") if isinstance(value, Mapping) else ""
        return self.unnamed if name is None else self.table.get(name) if isinstance(name, str) else None

    def validate(self, value: Any) -> Any:
        """Returns an instance of the selected class. Instances are returned as they are."""
        if isinstance(value, tuple({*self.table.values(), self.unnamed} - {None})):  # type: ignore[arg-type]
            return value
        if not isinstance(value, Mapping):
            raise PydanticCustomError("section", "expected a section of keys")
        selected = self.select(value)
        if selected is None:
            raise PydanticCustomError("option", "expected the name of an option")
        return adapter(selected).validate_python(dict(value))

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.validate)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        options: list[dict[str, Any]] = [] if self.unnamed is None else [handler(adapter(self.unnamed).core_schema)]
        for name, cls in self.table.items():
            option = handler(adapter(cls).core_schema)
            options.append({**option, "properties": {**option["properties"], "name": {"const": name}}})
        return {"anyOf": options}


class EachOf:
    """Marks a section with any number of members; the class of each member is found in `table` by its key."""

    def __init__(self, table: Mapping[str, type]) -> None:
        self.table = table

    def validate(self, value: Any) -> dict[str, Any]:
        """Returns the members, each an instance of its class."""
        if not isinstance(value, Mapping):
            raise PydanticCustomError("section", "expected a section of keys")
        known = {
            name: core_schema.typed_dict_field(adapter(self.table[name]).core_schema)
            for name in value
            if name in self.table
        }
        validator = SchemaValidator(core_schema.typed_dict_schema(known, extra_behavior="forbid"))
        return validator.validate_python(dict(value))

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.validate)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        members = {name: handler(adapter(cls).core_schema) for name, cls in self.table.items()}
        return {"type": "object", "properties": members, "additionalProperties": False}


def inner_section(field: FieldInfo, value: Any) -> type | EachOf | None:
    """Returns what declares the keys of a section with this `value`; None if the field is a key, or names no option."""
    for mark in field.metadata:
        if isinstance(mark, EachOf):
            return mark
        if isinstance(mark, OneOf):
            return mark.select(value)
    annotation: Any = field.annotation
    return annotation if hasattr(annotation, "__pydantic_fields__") else None


def flatten(data: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields a pair (dotted key, value) for each value of nested mappings that is not a mapping."""
    for name, value in data.items():
        dotted = f"{path}.{name}" if path else name
        if isinstance(value, Mapping):
            yield from flatten(value, dotted)
        else:
            yield dotted, value


def is_within(dotted: str, section: str) -> bool:
    """Returns whether a dotted key is the key `section`, or one below it."""
    return f"{dotted}.".startswith(f"{section}.")


def walk(cls: type, path: str = "", option: str = "") -> Iterator[tuple[str, str, FieldInfo]]:
    """Yields for each key, except an option's `name`, its dotted key, the option that has it, and its declaration.

    The option is for example `dataset=folder`, or an empty text for a key that is always there.
    """
    for name, field in fields_of(cls).items():
        dotted = f"{path}.{name}" if path else name
        inner = inner_section(field, {"name": None})
        mark = next((mark for mark in field.metadata if isinstance(mark, OneOf | EachOf)), None)
        if mark is not None:
            for each, options in mark.table.items():
                below = f"{dotted}.{each}" if isinstance(mark, EachOf) else dotted
                yield from walk(options, below, f"{dotted.replace('.', '/')}={each}")
        if isinstance(inner, type):
            yield from walk(inner, dotted, option)
        elif mark is None and not dotted.endswith(".name"):
            yield dotted, option, field
