"""Defines the error classes with their exit codes, and functions that build parts of messages.

The text of each error is one line for the user. Imports no torch.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

SIMILAR = 0.7  # similarity, of at most 1, from which a word may be a mistyped other one; `tpu` is 0.67 to `cpu`
OUT_OF_MEMORY = re.compile(  # the last two: oneDNN, which computes convolutions on CPUs
    "out of memory|can.t allocate memory|not enough memory|failed to map segment|ALLOC_FAILED|bad_alloc"
    "|could not create a (primitive|memory)$|could not execute a primitive$",
    re.IGNORECASE,
)


class GanCliError(Exception):
    """An error that the user can correct. Its text is one line that says what to do."""

    exit_code = 1


class UsageError(GanCliError):
    """An option, key or value is wrong, or the data do not fit the options."""

    exit_code = 2


class CheckpointError(GanCliError):
    """A checkpoint is missing or damaged, was made by another program, or has tensors of other shapes."""

    exit_code = 3


class DivergedError(GanCliError):
    """Training produced NaN or infinite numbers."""

    exit_code = 4


class CollapsedError(GanCliError):
    """The health monitor found that training fails, and health.on_collapse=stop ends such runs."""

    exit_code = 4


class StorageError(GanCliError):
    """A file or folder cannot be read or written, or another process uses it."""

    exit_code = 5


class LostProcessError(GanCliError):
    """Another process of the same run ended or does not answer."""

    exit_code = 6


class ProcessFailedError(LostProcessError):
    """Another process of the same run failed, with the exit code `code`, and has printed why."""

    def __init__(self, code: int) -> None:
        super().__init__("another process of this run failed, and has printed why")
        self.exit_code = code


@contextlib.contextmanager
def reworded(change: Callable[[str, str], str], key: str) -> Iterator[None]:
    """Replaces the text of an error of the block by `change(text, key)`, which names the user's own option `key`."""
    try:
        yield
    except GanCliError as error:
        raise type(error)(change(str(error), key)) from None


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error of Python, of torch on any device, or of loading a library says that memory ran out."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | ImportError) and OUT_OF_MEMORY.search(str(error)) is not None
    )


def describe_reason(error: OSError, folder: Path) -> str:
    """Returns why a file cannot be written, with the bytes that are free in its folder if the disk is full."""
    free = ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        with contextlib.suppress(OSError):
            existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())
            free = f", {shutil.disk_usage(existing).free:,} bytes free"
    return f"{error.strerror or error}{free}"


def closest_match(word: str, known: Iterable[str]) -> str | None:
    """Returns the word of `known` that was probably meant by `word`, whatever the case of the letters, else None.

    That is a word of the same letters (`dgo`), the most similar word, or the only one with a part that begins with
    `word`, as `oxford_pets` for `pets`.
    """
    word, names = word.lower(), {each.lower(): each for each in known}
    same_letters = [name for name in names if sorted(name) == sorted(word)]
    similar = same_letters or difflib.get_close_matches(word, names, n=1, cutoff=SIMILAR)
    starting = [name for name in names if len(word) > 3 and re.search(rf"(?<![a-z0-9]){re.escape(word)}", name)]
    found = similar or (starting if len(starting) == 1 else [])
    return names[found[0]] if found else None


def suggestion(word: str | None) -> str:
    """Returns ` (did you mean 'x'?)` for a word, and an empty text for None."""
    return f" (did you mean {word!r}?)" if word else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns ` (did you mean 'x'?)` with the known word most similar to `word`; an empty text if none is similar."""
    return suggestion(closest_match(word, known))


def first_few(texts: Sequence[str], most: int = 3) -> str:
    """Returns the first `most` texts joined by commas. If there are more texts, adds for example ` and 5 more`."""
    return ", ".join(texts[:most]) + (f" and {len(texts) - most:,} more" if len(texts) > most else "")


def count_noun(number: int, noun: str, many: str | None = None) -> str:
    """Returns a number with its noun: `1 job`, `2 jobs`, `1,000 images`. `many` is the plural if it is irregular."""
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"


def format_number(number: float, digits: int = 4) -> str:
    """Returns a number for people: `1,000,000`, `12,346`, `0.1235`, `1.5e-8`. `digits` are the significant ones."""
    if isinstance(number, int) or (abs(number) < 1e15 and (abs(number) >= 1000 or float(number).is_integer())):
        return f"{round(number):,}"
    return short_exponent(f"{number:.{digits}g}")


def short_exponent(text: str) -> str:
    """Returns the text of a number with the shortest exponent: `1e20` for `1e+20`, `1e-8` for `1e-08`."""
    return re.sub(r"e\+?(-?)0*(?=\d)", r"e\1", text)


def printable(text: str) -> str:
    """Returns the text with a space for each character that is not printable, such as a line break or an escape."""
    return "".join(char if char.isprintable() else " " for char in text)


def one_line(text: object, limit: int = 500) -> str:
    """Returns untrusted text in a form safe to print: one line of at most `limit` printable characters.

    The last quarter of a longer text is kept, because the reason of an error comes after its path.
    """
    cleaned = " ".join(printable(str(text)).split())
    if len(cleaned) <= limit:
        return cleaned
    end = limit // 4
    return f"{cleaned[: limit - 1 - end]}…{cleaned[len(cleaned) - end :]}"
