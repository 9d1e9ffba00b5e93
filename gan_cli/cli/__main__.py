"""`python -m gan_cli.cli COMMAND ...`: the same as `python -m gan_cli`."""

import sys

from gan_cli.cli import run_process

if __name__ == "__main__":
    sys.exit(run_process())
