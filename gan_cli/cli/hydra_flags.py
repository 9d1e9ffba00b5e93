"""Reads the flags that Hydra itself handles, such as `--cfg`."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
from collections.abc import Sequence

from gan_cli.errors import UsageError, did_you_mean, one_line

END = "="  # an override that a last flag without its value takes, so that its choices are named


def read_hydra_flags(arguments: Sequence[str]) -> argparse.Namespace:
    """Returns Hydra's flags and the `overrides` among the arguments, in any order.

    Raises UsageError if a flag lacks its value or has an unknown one. Hydra would print its usage and exit.
    """
    from hydra._internal.utils import get_args_parser

    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            read = get_args_parser().parse_intermixed_args([*arguments, END])
    except SystemExit as error:
        raise UsageError(_in_own_words(one_line(printed.getvalue().rpartition("error: ")[2]))) from error
    read.overrides = [override for override in read.overrides if override != END]
    return read


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
