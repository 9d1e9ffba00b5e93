"""Suggests what to write instead of a key or value that is refused.

The user may have typed a word of another tool, a key of an option that is not chosen, or a path. The suggestions come
from the tables in `other_tools.py` and from the schema. A test checks that every suggestion is valid.
"""

from __future__ import annotations

import os
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from gan_cli.config.options.fields import is_within, walk
from gan_cli.config.options.networks.architectures import GENERATOR_OPTIONS
from gan_cli.config.options.objectives import CLASHING
from gan_cli.config.options.other_tools import KEYS_OF_OTHER_TOOLS, OPTIONS_OF_OTHER_TOOLS
from gan_cli.config.options.tasks import suiting_options
from gan_cli.config.train_config import LIST_GROUPS
from gan_cli.config.validation import alternatives
from gan_cli.errors import closest_match, first_few, suggestion

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
GPU = re.compile(r"(?:cuda|gpu)s?:?(\d*)", re.IGNORECASE)
MAX_SUGGESTED = 4  # options that a message names at most
MAX_KEYS = 8  # keys of a section that a message names at most
ARCHIVES = (".zip", ".tar", ".npz")
OF_HYDRA = "of Hydra's keys, only launcher and sweeper can be set, for sweeps (-m); output= and name= say where runs go"
URL_HINT = "URLs are not read or written: download what is there, and give its path as {}=..."


def hint_for_key(
    command: str,
    key: str,
    config: type,
    leaves: Sequence[str],
    groups: Sequence[str],
    data: Mapping[str, Any] | None = None,
) -> str | None:
    """Returns a message that says why a key is refused and what to write instead; None for a valid key.

    `config` is the class of the command's config. `leaves` are the dotted keys that can be set with the chosen
    options, and `data` the config with these. `groups` are the groups of the command.
    """
    if key in groups or any(is_within(dotted, key) for dotted in leaves):
        return None
    section = key.rpartition(".")[0]
    options = options_with_key(config, key)
    if options:
        return _hint_for_other_option(key, options, leaves, data or {})
    words, tail = KEYS_OF_OTHER_TOOLS.get(command, {}), key.rpartition(".")[2]
    instead = _find_entry(words, key) or _find_entry(words, tail)
    if instead and (not section or instead.startswith(f"{section}.")):
        return f"unknown key {key}: here it is {instead}; see --help"
    while section and section.replace(".", "/") not in groups and not any(is_within(leaf, section) for leaf in leaves):
        section, _, tail = section.rpartition(".")  # the nearest section that there is
    tails = {dotted.rpartition(".")[2]: dotted for dotted in reversed(leaves)}
    if section.replace(".", "/") in groups or any(dotted.startswith(f"{section}.") for dotted in leaves):
        return f"unknown key {key}{_hint_in_section(section, tail, leaves, tails)}; see --help"
    long_tails = [name for name in tails if len(name) > 3]  # many words are similar to `eps`
    similar = tails.get(key) or closest_match(key, [*leaves, *groups])
    near = similar or closest_match(key, [*long_tails, *" ".join(words).split()]) or ""
    if instead := None if similar or near in tails else _find_entry(words, near):
        return f"unknown key {key}: {near} is {instead}; see --help"
    return f"unknown key {key}{suggestion(similar or tails.get(near))}; see --help"


def _hint_for_other_option(key: str, options: list[str], leaves: Sequence[str], data: Mapping[str, Any]) -> str:
    """Returns the message about a key that only `options` have, in place of the chosen option or beside it."""
    group, _, name = options[0].partition("=")
    if group in LIST_GROUPS:
        clashing = {other for together, _ in CLASHING if name in together for other in together}
        chosen = [each for each in data.get(group, {}) if each not in clashing]
        added = f"{group}=[{','.join([*chosen, name])}], or {group}={name} alone" if chosen else f"{group}={name}"
        return f"{key}: {group}={name} is not chosen; add {added}"
    section, inner = key.rpartition(".")[0], data
    for part in section.split("."):
        inner = inner.get(part, {})
    siblings = sorted(dotted.rpartition(".")[2] for dotted in leaves if dotted.rpartition(".")[0] == section)
    has = f"has {', '.join(siblings)}, not this key" if siblings else "has no keys"
    return f"{key}: {group}={inner.get('name', 'none')} {has}; {_choices_for_task(group, options, data)}"


def _choices_for_task(group: str, options: list[str], data: Mapping[str, Any]) -> str:
    """Returns which of `options` to choose: those that the task of `data` takes, or all with the tasks that do."""
    if group == "architecture/generator" and "task" in data:
        generators = {option: GENERATOR_OPTIONS[option.partition("=")[2]] for option in options}
        options = suiting_options(data["task"]["name"], generators)
    return describe_choices(options)


def _hint_in_section(section: str, tail: str, leaves: Sequence[str], tails: Mapping[str, str]) -> str:
    """Returns the part of a message about `section.tail`: the key that was meant, or the keys that the section has."""
    below = [dotted.removeprefix(f"{section}.") for dotted in leaves if dotted.startswith(f"{section}.")]
    near = None if tail in leaves else closest_match(tail, below)
    if near is not None:
        return suggestion(f"{section}.{near}")
    elsewhere = tail if tail in leaves else tails.get(closest_match(f"{section}.{tail}", tails) or tail)
    keys = sorted(name for name in below if not any(other.startswith(f"{name}.") for other in below))
    if len(keys) > MAX_KEYS:
        keys = sorted({name.partition(".")[0] for name in below})
    return suggestion(elsewhere) or f": {section} has {first_few(keys, MAX_KEYS) or 'no keys'}"


def _find_entry(table: Mapping[str, str], word: str) -> str | None:
    """Returns the value of the first table entry whose key, words separated by spaces, contains `word`, else None."""
    plain = word.lower().lstrip("-").replace("-", "_")
    return next((way for words, way in table.items() if {word.lower(), plain} & {*words.split()}), None)


def hint_for_option(group: str, value: object) -> str:
    """Returns `; write ...` for a value that is no option of a group; an empty text if nothing is known about it."""
    text = str(value)
    instead = _find_entry(OPTIONS_OF_OTHER_TOOLS.get(group, {}), text)
    numbered = GPU.fullmatch(text) if group == "device" else None
    if numbered and numbered[1]:
        instead = f"device=cuda device.index={numbered[1]}"
    if group == "dataset" and is_url(text):
        return f"; {URL_HINT.format('dataset=folder dataset.path')}"
    if instead is None and group == "dataset" and _is_path(text):
        instead = f"dataset=folder dataset.path={text}"
    return f"; write {instead}" if instead else ""


def hint_for_several(command: str, typed: str, config: type) -> str:
    """Returns what `key=a,b` means for a single run, and how the key's list is written if it accepts lists."""
    key, _, values = typed.partition("=")
    declared = [field.annotation for dotted, _, field in walk(config) if dotted == key]
    kinds = [typing.get_origin(kind) for annotation in declared for kind, _ in alternatives(annotation)]
    is_list = (tuple in kinds or key in LIST_GROUPS) and re.fullmatch(r"[\w,. -]+", values)
    ways = ["several values are a sweep, which needs -m"] if command == "train" else []
    ways += [f"a list is written {key}=[{values}]"] if is_list else []
    return "; ".join(ways) or "expected one value"


def hint_for_word(word: str) -> str:
    """Returns `; here it is ...` for what other tools call an option or a key of `gan-train`; else an empty text."""
    tables = [table for group, table in OPTIONS_OF_OTHER_TOOLS.items() if group != "conditioning"]  # no `true`, `on`
    found = (_find_entry(table, word) for table in (*tables, KEYS_OF_OTHER_TOOLS["train"]))
    return next((f"; here it is {instead}" for instead in found if instead), "")


def is_url(text: str) -> bool:
    """Returns whether the text is a URL."""
    return ADDRESS.match(text) is not None


def _is_path(text: str) -> bool:
    """Returns whether the text looks like a path, or a file or folder of this name exists."""
    return "/" in text or text.startswith("~") or text.lower().endswith(ARCHIVES) or os.path.exists(text)


def hint_for_argument(word: str) -> str:
    """Returns `; ...`, the override to write for an argument of `gan-train` without `=`; or an empty text."""
    if is_url(word):
        return f"; {URL_HINT.format('dataset=folder dataset.path')}"
    from gan_cli.storage.locate import locate

    try:
        location = locate(word, log=lambda line: None)
    except OSError:  # `word` cannot be a path
        return ""
    kind = None if location is None else location.kind
    if kind in ("run", "runs", "checkpoints"):
        return f"; continue that run with resume={word}, start from its networks with init_from={word}"
    if kind == "export" or word.endswith(".safetensors"):
        return f"; start from its networks with init_from={word}"
    return f"; for images write dataset=folder dataset.path={word}" if _is_path(word) else ""


def options_with_key(config: type, dotted: str) -> list[str]:
    """Returns the options that have a key, as `dataset=folder` for `dataset.path`; none if no option has it."""
    return list(dict.fromkeys(option for key, option, _ in walk(config) if option and is_within(key, dotted)))


def describe_choices(options: list[str]) -> str:
    """Returns `choose a or b` for options."""
    more = f" and {len(options) - MAX_SUGGESTED} more" if len(options) > MAX_SUGGESTED else ""
    return f"choose {' or '.join(options[:MAX_SUGGESTED])}{more}"
