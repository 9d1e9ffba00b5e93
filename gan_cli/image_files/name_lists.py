"""Several names or paths in one word, with commas between them. Imports no torch."""

from __future__ import annotations

import re

# An item of a list of names, with the comma after it.
QUOTED = re.compile(r"""(?P<quote>['"])(?P<name>(?:\\.|(?!(?P=quote))[^\\])*)(?P=quote)\s*(?:,|$)""")
UNQUOTED = re.compile(r"(?P<name>[^,]*)(?:,|$)")


def split_names(text: str) -> list[str]:
    """`cat,'a,b'` as the names that it means: in quotes a comma is a part of one. ValueError for quotes left open."""
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
    """The inverse of `quote`, of what stands between the quotes."""
    text = re.sub(rf"(\\+)(?={mark}|$)", lambda match: match[1][: len(match[1]) // 2], text)
    return re.sub(r"(\\*)\\\$\{", lambda match: match[1][: len(match[1]) // 2] + "${", text)
