"""Reads JSON files that gan-cli wrote. Such a file may be damaged or hostile, so pydantic models check its values."""

from __future__ import annotations

import json
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from gan_cli.errors import one_line
from gan_cli.storage.run_files import read_bytes

LARGEST_FILE, LARGEST_OF_SWEEP = 4 << 20, 16 << 20  # bytes of a file of a run, and of a sweep of many runs
MAX_VALUE = 1e300
Content = TypeVar("Content")

Number = Annotated[float, Field(strict=True, gt=-MAX_VALUE, lt=MAX_VALUE)]  # refuses true, NaN and infinity
Whole = Annotated[int, Field(strict=True, gt=-(10**18), lt=10**18)]


def text(value: Any, limit: int = 200) -> str:
    """Returns the value as one printable line of at most `limit` characters; empty if it is no text or number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    try:
        return one_line(value, limit)
    except ValueError:  # an integer of thousands of digits
        return ""


def line(limit: int) -> BeforeValidator:
    """Returns the validator of a field whose value is made one line by `text`. It refuses no value."""
    return BeforeValidator(partial(text, limit=limit))


def first(most: int) -> BeforeValidator:
    """Returns the validator that cuts a list or dict to its first `most` items, before the items are checked."""

    def cut(value: Any) -> Any:
        if isinstance(value, dict):
            return dict(islice(value.items(), most))
        return value[:most] if isinstance(value, list) else value

    return BeforeValidator(cut)


def at(*path: str, default: Any = None) -> Any:
    """Declares a field of a `FileModel` whose value stands at a path of keys in the file, in sections in sections."""
    return Field(default, validation_alias=AliasPath(*path))


class FileModel(BaseModel):
    """Base of the models of JSON files. Ignores unknown keys. An invalid value becomes the default of its field.

    An invalid value without a default makes the whole object invalid.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    @field_validator("*", mode="wrap")
    @classmethod
    def _default_if_invalid(cls, value: Any, check: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        try:
            return check(value)
        except (ValidationError, RecursionError):
            field = cls.model_fields[str(info.field_name)]
            if field.is_required():
                raise
            return field.get_default(call_default_factory=True)


def load_json(path: Path, most_bytes: int = LARGEST_FILE) -> Any:
    """Returns the content of a JSON file; None if it is missing, a link, larger than `most_bytes`, or not JSON."""
    try:
        return json.loads(read_bytes(path, most_bytes).decode("utf-8", errors="replace"))
    except (OSError, ValueError, RecursionError):
        return None


def read_as(kind: type[Content], path: Path, most_bytes: int = LARGEST_FILE) -> Content | None:
    """Returns a JSON file as `kind`, a dataclass or model; None if it is invalid."""
    try:
        return TypeAdapter(kind).validate_python(load_json(path, most_bytes))
    except (ValidationError, RecursionError):
        return None
