"""One process of a run that `gan-train device.processes=N` divides among several: it runs `gan-train`.

`start_processes.py` starts it. The first argument is the folder of the run if a sweep chose one, else empty.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gan_cli.cli.main import run_command
from gan_cli.distributed.process_environment import end_process
from gan_cli.stop_signals import exit_from_now_on_signal


def main() -> int:
    """Runs the command that the arguments are and returns its exit code."""
    from gan_cli.config.search_path import without_notices

    _, folder, *arguments = sys.argv
    with without_notices():
        return run_command("train", arguments, folder=Path(folder) if folder else None)


if __name__ == "__main__":
    exit_from_now_on_signal()
    sys.exit(end_process(main()))
