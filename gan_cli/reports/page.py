"""From values to one HTML file that runs no script and loads nothing but its own."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_cli import __version__
from gan_cli.errors import StorageError
from gan_cli.reports import reading
from gan_cli.storage.links import without_link

if TYPE_CHECKING:
    from jinja2 import Environment

NAME = "report.html"
GENERATOR = "gan-cli"
LARGEST_PAGE = 15_000_000  # bytes
BUDGETS = (11_000_000, 4_000_000, 0)  # for pictures, in base64; the second if texts and curves leave less room
HEAD = 4096  # bytes in which a page of ours says that it is


@lru_cache(maxsize=1)
def _environment() -> Environment:
    """Imported when a page is written, not when a run begins."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {"figure": reading.figure, "duration": reading.duration, "size": reading.size}
    return environment


def render(template: str, values: dict[str, Any]) -> str:
    """The page. Its policy names its own style and script by their hashes, so nothing else in it can act."""
    from markupsafe import Markup

    own = {name: _own(name) for name in ("style.css", "script.js")}
    return (
        _environment()
        .get_template(template)
        .render(
            **values,
            generator=f"{GENERATOR} {__version__}",
            style=Markup(own["style.css"]),
            script=Markup(own["script.js"]),
            style_hash=_hash(own["style.css"]),
            script_hash=_hash(own["script.js"]),
        )
    )


@lru_cache(maxsize=2)
def _own(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def fit(build: Callable[[int], str]) -> bytes:
    """What `build` makes of a budget for pictures, the largest with which the page stays under its limit."""
    for budget in BUDGETS:
        page = build(budget).encode("utf-8", errors="replace")
        if len(page) <= LARGEST_PAGE:
            break
    return page


def place_for(folder: Path) -> Path:
    """`report.html` there, or `report-2.html` ... where a file of that name is not ours."""
    names = [NAME, *(NAME.replace(".", f"-{count}.") for count in range(2, 1000))]
    return next((folder / name for name in names if is_ours(folder / name)), folder / names[-1])


def is_ours(path: Path) -> bool:
    """Whether it may be written: nothing is there, or a page that says we made it."""
    if not os.path.lexists(path):
        return True
    try:
        if not path.is_file():
            return False
        with open(path, "rb") as file:
            return f'<meta name="generator" content="{GENERATOR} '.encode() in file.read(HEAD)
    except OSError:
        return False


def write_page(page: bytes, path: Path) -> Path:
    """Under its name when all of it is there; StorageError if that cannot be."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # several processes may write the same page
    try:
        without_link(temporary).write_bytes(page)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise StorageError(f"{path}: cannot be written ({error.strerror})") from error
    return path
