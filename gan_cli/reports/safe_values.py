"""Turns untrusted values from a run's folder into safe text, numbers and links for the reports."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from gan_cli.errors import one_line

LARGEST_FILE = 64 * 2**20  # of JSON
MAX_VALUE = 1e300
Result = TypeVar("Result")


def none_on_error(build: Callable[[], Result]) -> Result | None:
    """The result of `build`, or None if it fails. An invalid file must not stop the rest of a report."""
    try:
        return build()
    except Exception:
        return None


def empty_on_error(build: Callable[[], Sequence[Result]]) -> list[Result]:
    """The list that `build` returns, or an empty one if it fails."""
    return list(none_on_error(build) or [])


def text(value: Any, limit: int = 200) -> str:
    """The value as one printable line of at most `limit` characters; empty if it is no text or number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    try:
        return one_line(value, limit)
    except ValueError:  # an integer of thousands of digits
        return ""


def number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < MAX_VALUE:
        return None
    return float(value)


def numbers(value: Any) -> list[float]:
    return [found for found in map(number, as_list(value)) if found is not None]


def as_int(value: Any) -> int | None:
    found = number(value)
    return None if found is None else int(found)


def as_mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def read_json(path: Path) -> Any:
    """The content of a JSON file; None if it does not exist or cannot be read."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_FILE:
            return None
        return json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError, RecursionError):
        return None


def inside(folder: Path, name: Any) -> Path | None:
    """The sub-folder of this name; None if it does not exist or is outside of `folder`."""
    if not isinstance(name, str) or not name or "\0" in name:
        return None
    found = folder / name
    try:
        is_inside = found.is_dir() and found.resolve().is_relative_to(folder.resolve())
    except OSError:
        return None
    return found if is_inside else None


def link(path: Path, home: Path) -> str:
    """The relative address of a file or folder from `home`, the folder of the page. Never has a scheme."""
    relative = Path(os.path.relpath(path.absolute(), home.absolute()))
    return "./" + quote(relative.as_posix(), errors="surrogateescape")


def format_number(value: float | None, digits: int = 3) -> str:
    """A number as text for people: `1,234`, `0.0123`, `2e−04`. Empty for None."""
    if value is None:
        return ""
    size = abs(value)
    if value and (size < 1e-3 or size >= 1e6):
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        shown = f"{mantissa}e{int(exponent)}"
    elif float(value).is_integer() or size >= 999.5:
        shown = f"{value:,.0f}"
    else:
        shown = f"{value:.{digits}g}"
    return shown.replace("-", "−")


def format_duration(seconds: float | None) -> str:
    """A time as text: `58 s`, `12 min`, `3 h 20 min`. Empty for None."""
    if seconds is None or seconds < 0:
        return ""
    if seconds < 120:
        return f"{format_number(round(seconds, 1) if seconds < 10 else round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60:,} h {minutes % 60} min"


def format_size(count: int) -> str:
    """A file size as text: `12 kB`."""
    for unit, least in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= least:
            return f"{format_number(count / least)} {unit}"
    return f"{count} B"
