"""The reference as Markdown: each option of each group, and each key of each command, from the code itself."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from gan_cli.cli.explain import PARTS, load_explanations
from gan_cli.cli.keys import Key, list_keys
from gan_cli.config.commands import SCHEMAS
from gan_cli.config.compose import groups
from gan_cli.config.search_path import find_option_files

# Code in backticks; a key with a value; a dotted key or a metric: `regularizer.r1.weight=10`, `loss/generator`.
NAME = re.compile(
    r"`[^`]+`|(?<![\w/.=])(?:[a-z_]+(?:[./][a-z_0-9]+)*=[^\s,;:)]*[^\s,;:).]|[a-z_]+(?:[./][a-z_]+)+)(?![\w/])"
)
DIRECTIVE = re.compile(r"# (@package|yaml-language-server)")  # for Hydra and for editors
KINDS = ("text", "number")  # what is no word to type
SPECIAL = re.compile(r"([\\`*_<>\[\]|#~$])")


@cache
def reference_pages() -> dict[str, str]:
    """Returns the Markdown text of each page by its name: one for each group, one for the keys of each command."""
    names = list(dict.fromkeys(group.partition("/")[0] for group in groups()))
    pages = {name: group_page(name) for name in names}
    return pages | {f"gan-{command}": keys_page(command) for command in SCHEMAS}


def group_page(name: str) -> str:
    """Returns the page of a group, with its sub-groups, such as `optimizer` and `optimizer/generator`."""
    explanations, lines = load_explanations(), [f"# Group `{name}`", ""]
    for group, options in groups().items():
        if group.partition("/")[0] == name:
            lines += [f"## `{group}=`", ""] if group != name else []
            for option in options:
                marks = "###" if group != name else "##"
                lines += [f"{marks} `{group}={option}`", "", *option_lines(group, option, explanations)]
    return "\n".join(lines)


def option_lines(group: str, option: str, explanations: dict[str, dict[str, str]]) -> Iterator[str]:
    """Yields the lines below the heading of an option: its explanation, and what its file sets."""
    header, settings = read_option_file(find_option_files(group, option)[0])
    explanation = explanations.get(f"{group}/{option}", {"what": header})
    for part, title in PARTS.items():
        text = explanation.get(part, "").strip()
        if not text:
            continue
        if part == "formula":
            yield from ("Formula:", "", "```text", text, "```", "")
            continue
        lead = f"**{title[:1].upper()}{title[1:]}.** " if title else ""
        yield from _paragraphs(text, lead)
    if settings:
        yield from ("Sets:", "", "```yaml", settings, "```", "")


def read_option_file(path: Path) -> tuple[str, str]:
    """Returns the comment at the top of an option's file, its commands first, and what the file sets."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not DIRECTIVE.match(line)]
    length = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    sentences = [line.lstrip("# ") for line in lines[:length]]
    commands = [f"`{line}`" for line in sentences if line.startswith("gan-train")]
    header = "\n".join([*commands, " ".join(line for line in sentences if not line.startswith("gan-train"))])
    settings = "\n".join(line for line in lines[length:] if not line.startswith("name:")).strip()
    return header, settings


def keys_page(command: str) -> str:
    """Returns the page of a command's keys: a table for each section. Options with the same key share its row."""
    sections: dict[str, list[str]] = {}
    for key in itertools.chain.from_iterable(list_keys(command).values()):
        section = key.key.partition(".")[0] if "." in key.key else ""
        row = f"| `{key.key}` | {_values(key)} | {_text(key.description)}{_of_options(key)} |"
        sections.setdefault(section, []).append(row)
    lines = [
        f"# Keys of `gan-{command}`",
        "",
        f"Defaults are those of `gan-{command}` alone, or with the options named.",
        "",
    ]
    for section, rows in sorted(sections.items(), key=lambda item: bool(item[0])):
        lines += [f"## `{section}`", ""] if section else []
        lines += ["| key | values | meaning |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _values(key: Key) -> str:
    """Returns what a key accepts and its defaults, such as `whole number 1 to 64; default 8`."""
    values = ", ".join(_text(value) if " " in value or value in KINDS else f"`{value}`" for value in key.values)
    defaults = (f"`{value}`{f' with {options}' if options else ''}" for value, options in key.defaults)
    return "; default ".join(filter(None, [values, ", ".join(defaults)]))


def _of_options(key: Key) -> str:
    """Returns the options that have a key, if not all have it: the group once, and their names."""
    group, _, names = key.options.partition("=")
    return f" (of `{group}=`: {', '.join(f'`{name}`' for name in names.split(', '))})" if names else ""


def _paragraphs(text: str, lead: str) -> Iterable[str]:
    for number, line in enumerate(text.splitlines()):
        yield from (lead * (number == 0) + _text(line), "")


def _text(text: str) -> str:
    """Returns a plain text as Markdown: names of keys and metrics as code, other special characters escaped."""
    parts: list[Any] = []
    end = 0
    for found in NAME.finditer(text):
        parts += [SPECIAL.sub(r"\\\1", text[end : found.start()]), f"`{found[0].strip('`')}`"]
        end = found.end()
    return "".join([*parts, SPECIAL.sub(r"\\\1", text[end:])])
