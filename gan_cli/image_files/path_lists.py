"""Splits a text of names or paths separated by commas. Imports no torch."""

from __future__ import annotations

import re

# One item of the list with the comma after it.
QUOTED = re.compile(r"""(?P<quote>['"])(?P<name>(?:\\.|(?!(?P=quote))[^\\])*)(?P=quote)\s*(?:,|$)""")
UNQUOTED = re.compile(r"(?P<name>[^,]*)(?:,|$)")


def split_names(text: str) -> list[str]:
    """Returns the names in a text: `cat,'a,b'` gives `cat` and `a,b`, because commas in quotes do not separate.

    Raises ValueError if a quote is not closed.
    """
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
    """Undoes the escaping of `overrides.quote_for_hydra` in the text between the quotes."""
    text = re.sub(rf"(\\+)(?={mark}|$)", lambda match: match[1][: len(match[1]) // 2], text)
    return re.sub(r"(\\*)\\\$\{", lambda match: match[1][: len(match[1]) // 2] + "${", text)
