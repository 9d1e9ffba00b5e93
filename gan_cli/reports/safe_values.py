"""Numbers, links and parts of a report that stay valid whatever the files of a run hold."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

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
    """A number as text for people: `1,234`, `0.0123`, `2.5e−5`. Empty for None."""
    if value is None:
        return ""
    size = abs(value)
    if value and (size < 1e-3 or size >= 1e6):
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        shown = f"{float(mantissa):g}e{int(exponent)}"
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
