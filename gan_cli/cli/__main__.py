"""Runs a command by `python -m gan_cli.cli COMMAND ...`, for use where the console scripts are not on the path."""

import sys

from gan_cli.stop_signals import exit_from_now_on_signal

if __name__ == "__main__":
    exit_from_now_on_signal()
    from gan_cli.cli.main import main

    sys.exit(main())
