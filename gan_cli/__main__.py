"""`python -m gan_cli COMMAND ...`: the console commands where their scripts are not on the path."""

import sys

from gan_cli.cli import run_process

if __name__ == "__main__":
    sys.exit(run_process())
