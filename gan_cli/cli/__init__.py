"""The console commands. Imports little before signals are handled, and no torch until a command runs."""

import functools
import gc
import sys

from gan_cli.stop_signals import exit_from_now_on_signal


def run_process(command: str | None = None) -> int:
    """Runs a command with the arguments of this process, as its only work. Returns the exit code.

    Without `command`, the first argument is its name, as in `python -m gan_cli train`.
    """
    exit_from_now_on_signal()
    gc.disable()  # until the command runs: reading a command line makes little garbage, and looking for it takes time
    from gan_cli.cli.main import main, run_command

    code = main() if command is None else run_command(command, sys.argv[1:])
    gc.freeze()  # else Python looks for garbage once more when it exits
    from gan_cli.distributed.process_environment import end_process

    return end_process(code)


# The console scripts of pyproject.toml.
train, sample, evaluate, export, project, direction, demo, report, compare = (
    functools.partial(run_process, command)
    for command in ("train", "sample", "eval", "export", "project", "direction", "demo", "report", "compare")
)
