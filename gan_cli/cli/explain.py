"""`gan-train explain=NAME`: what an option or a key is, its settings, and when it works.

The texts are in `explanations.toml`; settings, and what comes along, are read off `configs/` and the dataclasses.
"""

from __future__ import annotations

import shutil
import textwrap
import tomllib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from gan_cli.config import recipes
from gan_cli.config.compose import compose_command, groups
from gan_cli.config.schema import key_lines, shown
from gan_cli.config.search_path import option_files, own_folders
from gan_cli.config.train_config import Config, flatten
from gan_cli.errors import UsageError, closest

TEXTS = Path(__file__).with_name("explanations.toml")
# The parts of a text, in the order in which they are told.
PARTS = {
    "what": "",
    "formula": "formula",
    "paper": "paper",
    "healthy": "healthy curves",
    "failures": "known failures",
    "clashes": "does not go with",
}
WIDEST = 100


def explain(arguments: Sequence[str]) -> str:
    """The text for `explain=NAME`, of every option and key of that name; UsageError if there is none."""
    asked, *others = sorted(
        (argument for argument in arguments if not argument.startswith("plugins=")),
        key=lambda argument: not argument.startswith("explain="),
    )
    name = asked.removeprefix("explain=")
    if others:
        raise UsageError(f"{others[0]}: explain= stands alone")
    known = groups()
    found = [(group, option) for group, options in known.items() for option in options if name in _names(group, option)]
    keys = [(dotted, line) for dotted, line in key_lines(Config) if name in (dotted, dotted.rpartition(".")[2])]
    if name in known:
        return _explain_group(name, known[name])
    if not found and not keys:
        options = [option for options in known.values() for option in options]
        near = closest(name, [*options, *known, *(dotted for dotted, _ in key_lines(Config))])
        raise UsageError(f"explain={name}: neither an option nor a key{near}; gan-train --help lists both")
    told = [explain_option(group, option) for group, option in found] or [_explain_key(*key) for key in keys]
    return "\n".join(told)


def _names(group: str, option: str) -> tuple[str, ...]:
    return option, f"{group}={option}", f"{group}/{option}"


def explain_option(group: str, option: str) -> str:
    """Heading, text, settings, and what comes along."""
    text = texts().get(f"{group}/{option}", {})
    head = _head(option_files(group, option)[0])
    lines = [f"{group}={option}", ""]
    for part, title in PARTS.items():
        told = text.get(part, "\n".join(head) if part == "what" else "")
        if told:
            lines += [*([title] if title else []), *_wrapped(told, indent="  " if title else ""), ""]
    settings, brought = _settings(group, option)
    for title, values in (("settings", settings), ("brings along", brought)):
        if values:
            lines += [title, *(f"  {key}={shown(value)}" for key, value in values), ""]
    return "\n".join(lines)


def texts() -> dict[str, dict[str, str]]:
    """By `group/option`."""
    return tomllib.loads(TEXTS.read_text(encoding="utf-8"))


def _head(path: Path) -> list[str]:
    """The comment at the top of a file of options, without Hydra's directive."""
    lines = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.startswith("#"):
            break
        if "@package" not in line:
            lines.append(line.lstrip("# "))
    return lines


def _settings(group: str, option: str) -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:
    """The option's own keys and values, and those of other parts that come along with it."""
    bare = [] if group == "regularizer" else ["regularizer=none"]
    chosen = [f"{group}={option}", *(bare if group.startswith("architecture") else [])]
    with_recipe = compose_command("train", chosen)
    is_recipe = group == recipes.GROUP
    plain = with_recipe.data if is_recipe else compose_command("train", chosen, recipes.NONE).data
    default, unpenalized = _plain(tuple(own_folders()))
    chose_penalty = group == "regularizer" or (not is_recipe and plain["regularizer"] != default["regularizer"])
    before = dict(flatten(unpenalized if chose_penalty or group.startswith("architecture") else default))
    prefix = group.replace("/", ".") + "."
    leaves, asked = list(flatten(plain)), (recipes.GROUP, recipes.USED)
    own = [(key, value) for key, value in leaves if key.startswith(prefix) and not key.endswith(".name")]
    brought = [
        (key.removesuffix(".name").replace(".", "/") if key.endswith(".name") else key, value)
        for key, value in leaves
        if not key.startswith(prefix) and before.get(key, before) != value and value is not None and key not in asked
    ]
    if not is_recipe and with_recipe.recipe.name != recipes.NONE:
        brought.append((recipes.GROUP, with_recipe.recipe.name))
    return own, brought


def _explain_group(group: str, options: Sequence[str]) -> str:
    """A line for each option: what the comment at the top of its file begins with."""
    width = max(map(len, options))
    lines = [f"{group}, one of", ""]
    lines += [f"  {option:<{width}}  {_first_line(group, option)}" for option in options]
    return "\n".join([*lines, "", f"explain={group}/{options[-1]} tells about one", ""])


def _first_line(group: str, option: str) -> str:
    """What an experiment's file begins with is its command; the line after that says what it is."""
    return next((line for line in _head(option_files(group, option)[0]) if not line.startswith("gan-train")), "")


@lru_cache(maxsize=4)
def _plain(folders: tuple[Path, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The default, and that without a penalty, with these folders beside our own; to be read only."""
    return compose_command("train", []).data, compose_command("train", ["regularizer=none"]).data


def _explain_key(dotted: str, line: str) -> str:
    data = dict(flatten(compose_command("train", []).data))
    default = [f"default: {shown(data[dotted])}"] if dotted in data else ["only with the option that has it"]
    return "\n".join([dotted, "", *_wrapped(line), "", *default, ""])


def _wrapped(text: str, indent: str = "") -> Iterator[str]:
    """Each line of a text filled to the width of the terminal."""
    width = min(shutil.get_terminal_size().columns, WIDEST)
    for line in text.strip().splitlines():
        yield from textwrap.wrap(line, width, initial_indent=indent, subsequent_indent=indent) or [""]
