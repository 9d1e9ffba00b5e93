"""The console commands. Imports little before signals are handled, and no torch until a command runs."""

import functools
import sys

from gan_cli.stop_signals import exit_from_now_on_signal


def _run_script(command: str) -> int:
    """Runs the console script of a command with the arguments of this process."""
    exit_from_now_on_signal()
    from gan_cli.cli.main import run_command

    return run_command(command, sys.argv[1:])


# The console scripts of pyproject.toml.
train, sample, evaluate, export, report, compare = (
    functools.partial(_run_script, command) for command in ("train", "sample", "eval", "export", "report", "compare")
)
