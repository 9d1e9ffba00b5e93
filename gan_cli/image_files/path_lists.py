"""Splits a text of names or paths separated by commas. Imports no torch."""

from __future__ import annotations

import re

# One item of the list with the comma after it.
QUOTED = re.compile(r"""(?P<quote>['"])(?P<name>(?:\\.|(?!(?P=quote))[^\\])*)(?P=quote)\s*(?:,|$)""")
UNQUOTED = re.compile(r"(?P<name>[^,]*)(?:,|$)")


def split_names(text: str) -> list[str]:
    """Splits `cat,'a,b'` into `cat` and `a,b`: commas in quotes do not separate. ValueError for an open quote."""
    names = []
    rest = text.strip()
    while rest:
        match = QUOTED.match(rest) if rest[0] in "'\"" else UNQUOTED.match(rest)
        if match is None:
            raise ValueError(text)
        names.append(_unescaped(match["name"], rest[0]) if rest[0] in "'\"" else match["name"].strip())
        rest = rest[match.end() :].strip()
    return [name for name in names if name]


def _unescaped(text: str, mark: str) -> str:
    """Undoes the escaping of `overrides.quote` in the text between the quotes."""
    text = re.sub(rf"(\\+)(?={mark}|$)", lambda match: match[1][: len(match[1]) // 2], text)
    return re.sub(r"(\\*)\\\$\{", lambda match: match[1][: len(match[1]) // 2] + "${", text)
