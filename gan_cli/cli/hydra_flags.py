"""Checks the flags that Hydra itself handles, such as `--cfg`."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence

from gan_cli.errors import UsageError, did_you_mean, one_line


def check_hydra_flags(arguments: Sequence[str]) -> None:
    """Raises UsageError if a flag lacks its value or has an unknown one. Hydra would print its usage and exit."""
    from hydra._internal.utils import get_args_parser

    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            get_args_parser().parse_args(arguments)
    except SystemExit as error:
        raise UsageError(_in_own_words(one_line(printed.getvalue().rpartition("error: ")[2]))) from error


def _in_own_words(message: str) -> str:
    """Returns the message of `argparse` about a flag in the form of gan-cli's messages: `--cfg jobb: expected ...`."""
    refused = re.fullmatch(
        r"argument ([^/:]+)[^:]*: (?:invalid choice: '(.*)' \(choose from (.*)\)|expected .*)", message
    )
    if refused is None:
        return message
    flag, value, choices = refused.groups()
    known = (choices or "").replace("'", "").split(", ")
    typed = f" {value}" if value and "=" not in value else ""  # an override that follows is no value of the flag
    expected = f"one of {', '.join(known)}{did_you_mean(value or '', known)}" if choices else "a value after it"
    return f"{flag}{typed}: expected {expected}"
