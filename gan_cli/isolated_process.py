"""Starts Python child processes that never import files from the current folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

SAFE_PATH = "PYTHONSAFEPATH"  # an environment variable, which children of a child inherit too
# Imports gan_cli from the folder from which this process imported gan_cli, and imports nothing else from that folder.
BOOTSTRAP = (
    "import runpy, sys; root = sys.argv.pop(1); sys.path.insert(0, root); import gan_cli; sys.path.remove(root);"
    " runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def child_command(module: str, *arguments: str) -> list[str]:
    """Returns the command that runs a module of this package as `python -m` does.

    In the child process, the current folder is not on sys.path. Absolute paths in PYTHONPATH have their usual effect.
    """
    root = Path(__file__).resolve().parent.parent
    return [sys.executable, "-P", "-c", BOOTSTRAP, str(root), module, *arguments]


def isolate_children() -> None:
    """Keeps the current folder off sys.path in each Python process that this process or its libraries start later.

    So PYTHONPATH loses its relative entries and its empty ones, which mean the current folder.
    """
    os.environ[SAFE_PATH] = "1"
    if "PYTHONPATH" in os.environ:
        named = os.environ["PYTHONPATH"].split(os.pathsep)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(os.path.isabs, named))


def isolate_main() -> None:
    """Removes the current folder from sys.path of this process. `python -m` puts that folder first."""
    if not sys.flags.safe_path:
        sys.path.pop(0)
