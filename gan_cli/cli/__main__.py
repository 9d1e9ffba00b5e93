"""Runs a command by `python -m gan_cli.cli COMMAND ...`, for use where the console scripts are not on the path."""

import sys

from gan_cli.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
