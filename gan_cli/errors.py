"""What can go wrong through no fault of ours: one line for the user, and the exit code that tells scripts which."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class GanCliError(Exception):
    """A mistake or mishap that the user can mend; its text is one line that says how."""

    exit_code = 1


class UsageError(GanCliError):
    """A wrong option, key or value, or data that does not fit it."""

    exit_code = 2


class CheckpointError(GanCliError):
    """A checkpoint that is missing, damaged, foreign or of another shape."""

    exit_code = 3


class DivergedError(GanCliError):
    """Training produced numbers that are not finite."""

    exit_code = 4


class CollapsedError(GanCliError):
    """Training was found to fail, and was to stop then."""

    exit_code = 4


class StorageError(GanCliError):
    """A file or folder that cannot be read or written, or is in use."""

    exit_code = 5


def closest(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for a near miss, else an empty text."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""


def few(texts: Sequence[str], most: int = 3) -> str:
    """The first of many texts, and how many more there are."""
    return ", ".join(texts[:most]) + (f" and {len(texts) - most:,} more" if len(texts) > most else "")


def one_line(text: object, limit: int = 500) -> str:
    """Text from outside made safe to print: one line, no control characters, of bounded length."""
    cleaned = "".join(char if char.isprintable() else " " for char in str(text))
    cleaned = " ".join(cleaned.split())
    return cleaned if len(cleaned) <= limit else cleaned[: limit - 1] + "…"
