"""What a command line says of where options come from: a folder of one's own, plugins. Imports no torch."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from gan_cli.config import own_folder, search_path
from gan_cli.config.overrides import quote_literals, read_override
from gan_cli.errors import UsageError, one_line

CONFIG_DIR_FLAGS = ("--config-dir", "-cd")
MOST_SHOWN = 10  # files


def open_sources(arguments: Sequence[str]) -> list[str]:
    """The arguments for Hydra, without `--config-dir`; what that and `plugins=` name is known from here on."""
    rest: list[str] = []
    folder: str | None = None
    remaining = iter(arguments)
    for argument in remaining:
        flag, equals, value = argument.partition("=")
        if flag in CONFIG_DIR_FLAGS:
            folder = value if equals else next(remaining, "")
        else:
            rest.append(quote_literals(argument))
    search_path.use_folder(folder)
    own_folder.forget()
    for argument in rest:
        if argument.startswith("plugins="):
            override = read_override(argument)
            named = [] if override.is_sweep_override() else override.value()
            if not isinstance(named, list | str) or (named == [] and argument != "plugins=[]"):
                raise UsageError(f"{argument}: expected names of installed packages, as plugins=[mypackage]")
            with leaving_at_once():
                from gan_cli.plugins.register import enable

                enable([str(name) for name in named] if isinstance(named, list) else [str(named)])
    return rest


def tell_taken(command: str) -> None:
    """Says on stderr which files of `configs/` where we stand the command has read: nobody named that folder."""
    folder = search_path.standing_folder()
    taken = own_folder.taken_from(folder)
    if taken:
        shown = ", ".join(one_line(name, 100) for name in taken[:MOST_SHOWN])
        more = " ..." if len(taken) > MOST_SHOWN else ""
        print(f"gan-{command}: options from {one_line(folder, 300)}: {shown}{more}", file=sys.stderr, flush=True)


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """A Ctrl-C during the import of torch ends the process: there, an exception may be turned into another."""
    if threading.current_thread() is not threading.main_thread():  # signals are none of its business
        yield
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: os._exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
