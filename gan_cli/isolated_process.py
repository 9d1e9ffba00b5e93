"""Python processes that are started here: none of them imports a file of the folder where the user stands."""

from __future__ import annotations

import os
import sys
from pathlib import Path

SAFE_PATH = "PYTHONSAFEPATH"  # what a child's own children go by, whoever starts them
# Takes gan_cli from where this process has it, and nothing else from there.
START = (
    "import runpy, sys; root = sys.argv.pop(1); sys.path.insert(0, root); import gan_cli; sys.path.remove(root);"
    " runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def child_command(module: str, *arguments: str) -> list[str]:
    """The command of a process that runs a module of ours, as `python -m` but without the current folder on its path.

    PYTHONPATH counts there as it does here.
    """
    root = Path(__file__).resolve().parent.parent
    return [sys.executable, "-P", "-c", START, str(root), module, *arguments]


def isolate_children() -> None:
    """Keeps the current folder off the path of every Python process that libraries start from now on."""
    os.environ[SAFE_PATH] = "1"


def isolate_main() -> None:
    """Takes the current folder off the path of this process, which `python -m` began with it first."""
    if not sys.flags.safe_path:
        sys.path.pop(0)
