"""Checks the flags that Hydra itself handles, such as `--cfg`."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

from gan_cli.errors import UsageError, one_line


def check_hydra_flags(arguments: Sequence[str]) -> None:
    """Raises UsageError if a flag lacks its value or has an unknown one. Hydra would print its usage and exit."""
    from hydra._internal.utils import get_args_parser

    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            get_args_parser().parse_args(arguments)
    except SystemExit as error:
        raise UsageError(one_line(printed.getvalue().rpartition("error: ")[2])) from error
