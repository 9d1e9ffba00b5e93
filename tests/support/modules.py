"""The modules of `gan_cli` and what they import."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from support.paths import ROOT

PACKAGE = ROOT / "gan_cli"
FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    """Returns the dotted name of a file: `gan_cli.config.validation`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def syntax_tree(path: Path) -> ast.Module:
    """Returns the syntax tree of a file. Callers must not change it."""
    return ast.parse(path.read_text())


def imported_modules(path: Path) -> set[str]:
    """Returns the dotted names of all modules that a file imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(syntax_tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found
