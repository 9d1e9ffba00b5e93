"""Reads the sources of options that a command line names: a folder of the user, and plugins. Imports no torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gan_cli.config import search_path
from gan_cli.config.overrides import quote_literals, read_override
from gan_cli.errors import UsageError, first_few, one_line
from gan_cli.stop_signals import exit_on_signal

CONFIG_DIR_FLAGS = ("--config-dir", "-cd")
MAX_SHOWN = 10  # files that are listed at most


def read_option_sources(arguments: Sequence[str]) -> list[str]:
    """Applies `--config-dir`, which it leaves out, and `plugins=`, and returns the arguments quoted for Hydra."""
    rest: list[str] = []
    folder: str | None = None
    remaining = iter(arguments)
    for argument in remaining:
        flag, equals, value = argument.partition("=")
        if flag in CONFIG_DIR_FLAGS:
            folder = value if equals else next(remaining, "")
            if not equals and (folder.startswith("-") or (not os.path.isdir(folder) and "=" in folder)):
                folder = ""  # what follows is another argument
        else:
            rest.append(quote_literals(argument))
    search_path.set_explicit_folder(folder)
    search_path.forget_used_files()
    for argument in rest:
        if argument.startswith("plugins="):
            override = read_override(argument)
            named = None if override.is_sweep_override() else override.value()
            if not isinstance(named, list | str) or (named == [] and argument != "plugins=[]"):
                raise UsageError(f"{argument}: expected names of installed packages, as plugins=[mypackage]")
            with exit_on_signal():
                from gan_cli.plugins.loader import load_plugins

                load_plugins(map(str, named if isinstance(named, list) else [named]))
    return rest


def print_used_files(command: str) -> None:
    """Prints to stderr which files of `configs/` in the current folder were read, as the user did not name it."""
    folder = Path(search_path.CURRENT_CONFIGS).resolve()
    used = search_path.files_used_from(folder)
    if used:
        shown = first_few([one_line(name, 100) for name in used], MAX_SHOWN)
        print(f"gan-{command}: options from {one_line(folder, 300)}: {shown}", file=sys.stderr, flush=True)
