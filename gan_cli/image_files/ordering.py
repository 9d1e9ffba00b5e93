"""The order of classes by their names: numbers by their size, then words, in which numbers also count by their size."""

from __future__ import annotations

import re

NUMBER = re.compile(r"[+-]?[0-9]{1,18}([.,][0-9]{1,18})?([eE][+-]?[0-9]{1,2})?")
DIGITS = re.compile(r"[0-9]+")


def number_of(name: str) -> float | None:
    """What a name that is a number is worth, `30.2` or `30,2`; None of any other name."""
    return float(name.replace(",", ".")) if NUMBER.fullmatch(name) else None


def natural(name: str) -> tuple[bool, float, str, str]:
    """A key to sort by: 0, 1, 2, 10, then class1, class2, class10."""
    number = number_of(name)
    padded = DIGITS.sub(lambda found: found[0].zfill(20), name)
    return (number is None, 0.0 if number is None else number, padded, name)


def as_before(name: str) -> tuple[bool, int, str]:
    """The key by which tables were sorted at first: whole numbers by their size, then text."""
    number = name.isdecimal() and len(name) < 20
    return (not number, int(name) if number else 0, name)
