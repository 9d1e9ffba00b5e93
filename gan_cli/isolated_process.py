"""Starts Python child processes that never import files from the current folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

SAFE_PATH = "PYTHONSAFEPATH"  # inherited by the children of a child
# Imports gan_cli from the folder that this process imported it from, and nothing else from that folder.
BOOTSTRAP = (
    "import runpy, sys; root = sys.argv.pop(1); sys.path.insert(0, root); import gan_cli; sys.path.remove(root);"
    " runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def child_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this package as `python -m` does, without the current folder on sys.path.

    PYTHONPATH has its usual effect.
    """
    root = Path(__file__).resolve().parent.parent
    return [sys.executable, "-P", "-c", BOOTSTRAP, str(root), module, *arguments]


def isolate_children() -> None:
    """Keeps the current folder off sys.path in every Python process that is started from now on, also by libraries."""
    os.environ[SAFE_PATH] = "1"


def isolate_main() -> None:
    """Removes the current folder from sys.path of this process, where `python -m` put it first."""
    if not sys.flags.safe_path:
        sys.path.pop(0)
