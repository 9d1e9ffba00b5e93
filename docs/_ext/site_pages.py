"""Sphinx extension: the navigation of the site, and the generated pages of the reference."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from option_reference import reference_pages
from sphinx.application import Sphinx

FOLDER = Path(__file__).parents[1]
REFERENCE = FOLDER / "reference"  # generated, ignored by git
SECTION = re.compile(r"^\*\*(.+)\*\*$")
ITEM = re.compile(r"^- \[([^]]+)\]\(([^)#]+)\.md\)")


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the two steps with Sphinx."""
    app.connect("builder-inited", write_reference)
    app.connect("source-read", add_navigation)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def write_reference(app: Sphinx) -> None:
    """Writes the pages of the reference, before Sphinx lists the pages. A page that did not change is kept."""
    REFERENCE.mkdir(exist_ok=True)
    pages = {REFERENCE / f"{name}.md": text for name, text in reference_pages().items()}
    for path in set(REFERENCE.glob("*.md")) - set(pages):
        path.unlink()
    for path, text in pages.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def add_navigation(app: Sphinx, name: str, source: list[str]) -> None:
    """Adds the navigation to two pages, which stay plain Markdown in the repository."""
    if name == app.config.root_doc:
        source[0] += "".join(_toctree(links, caption) for caption, links in page_sections(source[0]).items())
    if name == "docs/reference":
        source[0] += _toctree([f"reference/{page}" for page in reference_pages()], "", hidden=False)


def page_sections(text: str) -> dict[str, list[str]]:
    """Returns the pages that the index lists below each bold line, as entries of a toctree: `title <page>`."""
    sections: dict[str, list[str]] = {}
    pages: list[str] = []
    for line in text.splitlines():
        if heading := SECTION.match(line):
            pages = sections.setdefault(heading[1], [])
        elif item := ITEM.match(line):
            pages.append(f"{item[1]} <{item[2]}>")
    return sections


def _toctree(pages: list[str], caption: str, hidden: bool = True) -> str:
    options = [":maxdepth: 1", *([f":caption: {caption}"] if caption else []), *([":hidden:"] if hidden else [])]
    return "\n".join(["", "", "```{toctree}", *options, "", *pages, "```", ""])
