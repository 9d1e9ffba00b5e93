"""Renders a report into one HTML file. It runs no script but its own, and loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_cli import __version__
from gan_cli.reports import safe_values
from gan_cli.storage.atomic_write import write_bytes
from gan_cli.storage.output_file import writing_to

if TYPE_CHECKING:
    from jinja2 import Environment

NAME = "report.html"
FOLDER = Path(__file__).parent  # of the templates, style.css and script.js
GENERATOR = "gan-cli"
LARGEST_PAGE = 15_000_000  # bytes
BUDGETS = (11_000_000, 4_000_000, 0)  # bytes for images in base64; smaller ones if texts and curves need more room
HEAD = 4096  # bytes at the start of a page that contain its generator tag


@lru_cache
def _environment(folder: Path) -> Environment:
    """Returns the Jinja environment of the templates in a folder, with its style and script and their hashes.

    Jinja is imported when a page is written.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters["format_number"] = safe_values.format_number
    environment.globals["generator"] = f"{GENERATOR} {__version__}"
    for name, file in (("style", "style.css"), ("script", "script.js")):
        content = (folder / file).read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode("ascii")
        environment.globals |= {name: Markup(content), f"{name}_hash": f"sha256-{digest}"}
    return environment


def render(template: str, values: dict[str, Any], folder: Path = FOLDER) -> str:
    """Returns the HTML text of a page. Its security policy (CSP) allows only the page's own style and script."""
    return _environment(folder).get_template(template).render(values)


def fit_page_size(build: Callable[[int], str]) -> bytes:
    """Returns what `build` makes with the largest of BUDGETS that fits LARGEST_PAGE bytes, else with the smallest."""
    for budget in BUDGETS:
        page = build(budget).encode("utf-8", errors="replace")
        if len(page) <= LARGEST_PAGE:
            break
    return page


def choose_report_path(folder: Path) -> Path:
    """Returns the path of `report.html` in the folder, or of `report-2.html` and so on if gan-cli may not write it."""
    names = [NAME, *(NAME.replace(".", f"-{count}.") for count in range(2, 1000))]
    return next((folder / name for name in names if is_ours(folder / name)), folder / names[-1])


def is_ours(path: Path) -> bool:
    """Returns True if nothing exists at this path, or an HTML page whose `<meta name="generator">` says gan-cli."""
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
    """Writes the page atomically and returns its path. Raises StorageError if it cannot be written."""
    with writing_to(path):
        write_bytes(path, page)
    return path
