"""Sort keys of class names. Numbers come first, by value; then words, in which numbers also sort by value."""

from __future__ import annotations

import re

NUMBER = re.compile(r"[+-]?[0-9]{1,18}([.,][0-9]{1,18})?([eE][+-]?[0-9]{1,2})?")
DIGITS = re.compile(r"[0-9]+")


def parse_number(name: str) -> float | None:
    """Returns the value of a name that is a number, such as `30.2` or `30,2`, or None for any other name."""
    return float(name.replace(",", ".")) if NUMBER.fullmatch(name) else None


def natural_key(name: str) -> tuple[bool, float, str, str]:
    """Returns a sort key that gives the order 0, 1, 2, 10, then class1, class2, class10."""
    number = parse_number(name)
    padded = DIGITS.sub(lambda found: found[0].zfill(20), name)
    return (number is None, 0.0 if number is None else number, padded, name)


def version_1_key(name: str) -> tuple[bool, int, str]:
    """Returns the sort key of labels version 1: non-negative integers by value, then all other names as text."""
    number = name.isdecimal() and len(name) < 20
    return (not number, int(name) if number else 0, name)
