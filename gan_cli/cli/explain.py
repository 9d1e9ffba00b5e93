"""Implements `gan-train explain=NAME`, which explains an option, a key, a section of keys or a value of a key.

The texts are in `explanations.toml`. The settings of an option, and the settings of other sections that this option
changes, come from `configs/` and the dataclasses.
"""

from __future__ import annotations

import itertools
import re
import shutil
import textwrap
import tomllib
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from gan_cli.cli.default_values import default_values
from gan_cli.cli.keys import Key, join, list_keys
from gan_cli.config import recipes
from gan_cli.config.commands import SCHEMAS
from gan_cli.config.compose import compose_command, groups
from gan_cli.config.options.fields import is_within, walk
from gan_cli.config.search_path import find_option_files
from gan_cli.config.suggestions import hint_for_word
from gan_cli.config.validation import alternatives, format_value
from gan_cli.errors import UsageError, did_you_mean, first_few

EXPLANATIONS_FILE = Path(__file__).with_name("explanations.toml")
# The parts of an explanation with their headings, in the order in which they are printed.
PARTS = {
    "what": "",
    "formula": "formula",
    "paper": "paper",
    "healthy": "healthy curves",
    "failures": "known failures",
    "clashes": "does not go with",
}
MAX_WIDTH = 100
MAX_NAMED = 8  # options or keys that a message names


def explain(arguments: Sequence[str]) -> str:
    """Returns the explanations of all options, keys, sections of keys or values of keys that `explain=NAME` names.

    Options and keys of that name come first, then sections, keys with that word in their name, as `ema_decay` for
    `ema`, values, as `ada` of training.augment, and keys of other commands. Raises UsageError if there is none.
    """
    request, *others = sorted(
        (argument for argument in arguments if not argument.startswith("plugins=")),
        key=lambda argument: not argument.startswith("explain="),
    )
    name = request.removeprefix("explain=")
    if others:
        raise UsageError(f"{others[0]}: explain= stands alone")
    if not name:
        raise UsageError("explain=: expected an option or a key, as explain=hinge; gan-train --help lists both")
    known, lines = groups(), list_keys("train")
    if (group := name.replace(".", "/")) in known:
        return _explain_group(group, known[group])
    found = [
        (group, option)
        for group, options in known.items()
        for option in options
        if name in (option, f"{group}={option}", f"{group}/{option}")
    ]
    if found:
        return "\n".join(explain_option(group, option) for group, option in found)
    typed = name.partition("=")[0]
    if keys := [forms for dotted, forms in lines.items() if typed in (dotted, dotted.rpartition(".")[2])]:
        return "\n".join(map(_explain_key, keys))
    if any(is_within(dotted, name) for dotted in lines):
        return _explain_section(name, lines)
    accepting = _values().get(name, [])
    related = [dotted for dotted in lines if name in dotted.rpartition(".")[2].split("_")]
    if accepting or related:
        headings = [f"{name}, a value of {', '.join(accepting)}\n"] if accepting else []
        shown = dict.fromkeys([*accepting, *related])
        return "\n".join([*headings, *(_explain_key(lines[dotted]) for dotted in shown)])
    if elsewhere := _explain_key_of_other_commands(name):
        return elsewhere
    raise UsageError(f"explain={name}: {_nearest(name, known, lines)}; gan-train --help lists both")


def _nearest(name: str, known: Mapping[str, Sequence[str]], lines: Mapping[str, object]) -> str:
    """Returns what a name is not, and what may be meant: an option of the group that it names, or something similar."""
    group = max((group for group in known if name.startswith((f"{group}=", f"{group}/"))), key=len, default=None)
    if group is not None:
        option = name[len(group) + 1 :]
        similar = did_you_mean(option, known[group]) or f", expected one of {first_few(known[group], MAX_NAMED)}"
        return f"no option of {group}{similar}"
    options = [option for options in known.values() for option in options]
    sections = {dotted[: match.start()] for dotted in lines for match in re.finditer(r"\.", dotted)}
    tails = {dotted.rpartition(".")[2] for dotted in lines}
    words = {*options, *known, *sections, *lines, *tails, *_values()} - {recipes.NONE}  # which explains nothing
    near = hint_for_word(name) or did_you_mean(name, sorted(words))
    return f"neither an option nor a key{near}"


def _values() -> dict[str, list[str]]:
    """Returns the words that keys accept as values, as `ada`, each with its keys; without options of groups."""
    found: dict[str, list[str]] = {}
    for dotted, _, field in walk(SCHEMAS["train"]):
        for word in words_of(field.annotation):
            keys = found.setdefault(word, [])
            keys += [] if dotted in keys else [dotted]
    return found


def _explain_section(section: str, lines: Mapping[str, Sequence[Key]]) -> str:
    """Returns the keys of a section, as `training` or `schedule.lr`, each with its description."""
    below = {dotted: forms[0] for dotted, forms in lines.items() if is_within(dotted, section)}
    shown = [line for dotted, key in below.items() for line in (f"  {dotted}", *_wrapped(key.description, " " * 6))]
    return "\n".join([f"{section}, the keys", "", *shown, "", f"explain={[*below][-1]} explains one", ""])


def _explain_key_of_other_commands(name: str) -> str:
    """Returns the explanation of a key that commands other than gan-train have; an empty text if none has it."""
    found: dict[str, list[str]] = {}
    for command in SCHEMAS:
        if command != "train" and (forms := list_keys(command).get(name)):
            found.setdefault(_explain_key(forms), []).append(f"gan-{command}")
    return "\n".join(f"{', '.join(commands)}: {text}" for text, commands in found.items())


def explain_option(group: str, option: str) -> str:
    """Returns the explanation of one option: a heading, texts, its settings, and settings of other sections it sets."""
    text = load_explanations().get(f"{group}/{option}", {})
    header = _header(find_option_files(group, option)[0])
    lines = [f"{group}={option}", ""]
    for part, title in PARTS.items():
        content = text.get(part, "\n".join(header) if part == "what" else "")
        if content:
            lines += [*([title] if title else []), *_wrapped(content, indent="  " if title else ""), ""]
    settings, implied = _settings(group, option)
    for title, values in (("settings", settings), ("also sets", implied)):
        if values:
            lines += [title, *(f"  {key}={format_value(value)}" for key, value in values), ""]
    return "\n".join(lines)


def load_explanations() -> dict[str, dict[str, str]]:
    """Returns a dict from `group/option` to the explanation of the option, a dict with the keys of `PARTS`."""
    return tomllib.loads(EXPLANATIONS_FILE.read_text(encoding="utf-8"))


def _header(path: Path) -> list[str]:
    """Returns the lines of the comment at the top of an option file, without those for Hydra and for editors."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    comment = itertools.takewhile(lambda line: line.startswith("#"), lines)
    return [line.lstrip("# ") for line in comment if "@package" not in line and "yaml-language-server" not in line]


def _settings(group: str, option: str) -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:
    """Returns two lists of (key, value): the settings in the option's own section, and those in other sections."""
    no_penalty, is_recipe = "regularizer=none", group == recipes.GROUP
    chosen = [f"{group}={option}", *([no_penalty] if group.startswith("architecture") else [])]
    recipe = compose_command("train", chosen).recipe.name  # also raises an error if a file is wrong
    plain, default = default_values("train", *chosen), default_values("train")
    penalty, usual = ([item for item in values.items() if "regularizer." in item[0]] for values in (plain, default))
    chose_penalty = group == "regularizer" or (not is_recipe and penalty != usual)
    before = default_values("train", no_penalty) if chose_penalty else default
    prefix = group.replace("/", ".") + "."
    own = [(key, value) for key, value in plain.items() if key.startswith(prefix) and not key.endswith(".name")]
    implied = [
        (key.removesuffix(".name").replace(".", "/") if key.endswith(".name") else key, value)
        for key, value in plain.items()
        if not key.startswith(prefix)
        and before.get(key, before) != value
        and value is not None
        and key != recipes.GROUP
    ]
    implied.sort(key=lambda item: item[0].replace("/", ".").partition(".")[0])  # by section
    return own, implied if is_recipe or recipe == recipes.NONE else [*implied, (recipes.GROUP, recipe)]


def _explain_group(group: str, options: Sequence[str]) -> str:
    """Returns the explanation of a group, with a line for each option: its name and a summary from its file."""
    width = max(map(len, options))
    lines = [f"{group}, one of", ""]
    for option in options:
        header = _header(find_option_files(group, option)[0])
        summary = next((line for line in header if not line.startswith("gan-train")), "")
        lines.append(f"  {option:<{width}}  {summary}")
    return "\n".join([*lines, "", f"explain={group}/{options[-1]} explains one", ""])


def _explain_key(forms: Sequence[Key]) -> str:
    """Returns the explanation of one key: its description, the values that it accepts and its default value.

    `forms` are those of `list_keys`: several if the key is not the same for all of its options.
    """
    lines = [forms[0].key, ""]
    for each in forms:
        lines += [*_wrapped(each.description), "", f"values: {join(each.values)}", f"default: {each.default or 'null'}"]
        lines += [f"only with {each.options}"] if len(forms) > 1 or not each.plain else []
        lines += [""]
    return "\n".join(lines)


def _wrapped(text: str, indent: str = "") -> Iterator[str]:
    """Yields the lines of a text, wrapped to the width of the terminal."""
    width = min(shutil.get_terminal_size().columns, MAX_WIDTH)
    for line in text.strip().splitlines():
        yield from textwrap.wrap(line, width, initial_indent=indent, subsequent_indent=indent) or [""]


def words_of(annotation: Any) -> Iterator[str]:
    """Yields the words that a type, or an item of its lists, accepts beside other values."""
    for kind, _ in alternatives(annotation):
        if typing.get_origin(kind) is Literal:
            yield from (word for word in typing.get_args(kind) if isinstance(word, str))
        elif typing.get_origin(kind) is tuple:
            yield from words_of(typing.get_args(kind)[0])
