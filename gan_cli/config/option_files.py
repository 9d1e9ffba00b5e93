"""Refuses mistakes in a YAML file of the user's options before Hydra reads the file."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from gan_cli.config import recipes
from gan_cli.config.options.fields import flatten, is_within, walk
from gan_cli.config.plugin import ENABLED
from gan_cli.config.search_path import (
    CURRENT_CONFIGS,
    EXPERIMENTS,
    config_folder,
    explicit_config_folder,
    find_option_files,
    options_of_groups,
    used_files,
)
from gan_cli.config.suggestions import hint_for_key, hint_for_option
from gan_cli.config.train_config import LIST_GROUPS, Config
from gan_cli.config.validation import SECTION, format_value
from gan_cli.errors import UsageError, did_you_mean, one_line
from gan_cli.storage.yaml_files import read_option_file

MAX_VALUES = 10_000  # in one file
MAX_DEPTH = 20  # of nested lists and mappings
OPTIONAL_GROUPS = ("experiment", "optimizer/generator", "optimizer/discriminator")  # need no option
HYDRAS = re.compile(r"(?<![\w-])hydra(?![\w-])", re.IGNORECASE)  # matches Hydra's name as a part of a path or a package
CHOICE = "override /loss: hinge"


def check_options(group: str, value: Any, using: tuple[Path, ...] = ()) -> None:
    """Raises UsageError unless each chosen option exists, is chosen once, and has exactly one usable file.

    `value` is an option or a list of options. `using` are the user's files that led to this choice, outermost first.
    """
    known = options_of_groups()[group]
    chosen = value if isinstance(value, list) else [value]
    for text in chosen:
        nothing = text is None and group in OPTIONAL_GROUPS
        if not nothing and text not in known:
            hint = hint_for_option(group, text) or did_you_mean(str(text), known)
            raise UsageError(f"{group}={format_value(text)}: expected one of {', '.join(known)}{hint}")
        files = find_option_files(group, str(text))
        for path in files[1:]:
            explicit = path.is_relative_to(explicit_config_folder() or files[0])
            if explicit or not path.is_relative_to(Path(CURRENT_CONFIGS).resolve()):
                raise UsageError(f"{group}={text}: {path} has the name of an option that is there already, rename it")
            _warn_unused(path, files[0])
        if files:
            check_option_file(files[0], group, using)
    if isinstance(value, list) and group not in LIST_GROUPS:
        raise UsageError(f"{group}={format_value(value)}: takes one option, of {', '.join(known)}")
    if len(set(chosen)) < len(chosen) or ("none" in chosen and len(chosen) > 1):
        raise UsageError(f"{group}=[{','.join(chosen)}]: name each once, and none alone")


@cache
def _warn_unused(path: Path, used: Path) -> None:
    """Warns once that `path`, of another content than `used`, is ignored: `configs/` may be of another project."""
    if path.read_bytes() != used.read_bytes():
        print(f"warning: {path} is not used, gan-cli has an option of this name; rename it to use it", flush=True)


def check_option_file(path: Path, group: str, using: tuple[Path, ...] = ()) -> None:
    """Raises UsageError for a mistake in a file of the user, or in a file that it takes over or chooses.

    The message has the path, the key and what is allowed. The values themselves are checked once they are composed.
    """
    if path.is_relative_to(config_folder()):
        return
    if path in using:
        raise UsageError(f"{path}: defaults: takes itself over{'' if path == using[-1] else f', by {using[-1]}'}")
    package, content = read_option_file(path)
    if group == EXPERIMENTS and package != "_global_":
        raise UsageError(f"{path}: its first line must be '# @package _global_'")
    if _count_values(content) > MAX_VALUES:
        raise UsageError(f"{path}: more than {MAX_VALUES:,} values, or lists in lists deeper than {MAX_DEPTH}")
    try:
        _refuse_foreign(package, content)
        _check_defaults(group, package, content.get("defaults", []), (*using, path))
        if package in ("", "_group_", "_global_"):
            section = "" if package == "_global_" else group.replace("/", ".")
            _check_keys(section, {key: value for key, value in content.items() if key != "defaults"})
    except UsageError as error:
        if re.match(r".*\.yaml(, line \d+)?: ", str(error)):  # the mistake is in another file
            raise
        raise UsageError(f"{path}: {error}") from error


@contextmanager
def naming_file(named: Collection[str]) -> Iterator[None]:
    """While entered, an error about a key that a file of the user set begins with the path of the file.

    `named` are the keys that the command line sets, for which no file is named.
    """
    try:
        yield
    except UsageError as error:
        match = re.match(r"(?:unknown key )?([\w.]+)(?=[=:, ]|$)", str(error))
        key = match[1] if match else ""
        typed = {*named} - {group.replace("/", ".") for group in options_of_groups()}
        if key and not any(is_within(key, each) for each in typed):
            for path, group in used_files():
                if _sets_key(path, group, key):
                    raise UsageError(f"{path}: {error}") from error
        raise


def sets_key(dotted: str) -> bool:
    """Returns whether a file of the user that this command has read sets this key."""
    return any(_sets_key(path, group, dotted) for path, group in used_files())


def _sets_key(path: Path, group: str, dotted: str) -> bool:
    """Returns whether an option's file sets this dotted key, a key below it, or the section that the key is."""
    package, content = read_option_file(path)
    section = "" if package == "_global_" else group.replace("/", ".")
    keys = [section, *(key for key, _ in flatten(content, section))]
    return any(is_within(key, dotted) for key in keys)


def _count_values(content: Any, depth: int = 0) -> int:
    """Returns the number of values in nested lists and mappings, counting aliases at each use.

    Stops above MAX_VALUES. Returns more than MAX_VALUES if they are nested deeper than MAX_DEPTH.
    """
    inner = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    count = 1 if depth <= MAX_DEPTH else MAX_VALUES + 1
    for item in inner:
        if count > MAX_VALUES:
            break
        count += _count_values(item, depth + 1)
    return count


def _refuse_foreign(package: str, content: Mapping[Any, Any]) -> None:
    """Raises UsageError if a file sets `recipe_used`, or a key of Hydra: directly, by its package or its defaults."""
    if recipes.USED_KEY in content:
        raise UsageError(f"{recipes.USED_KEY}: is recorded by a run, not set; choose one by recipe:")
    if "hydra" in content:
        key = next(iter(content["hydra"]), "*") if isinstance(content["hydra"], dict) else "*"
        raise UsageError(f"hydra.{key}: no file of options may set it; use the keys that --help lists")
    named: list[Any] = [package]
    for entry in content["defaults"] if isinstance(content.get("defaults"), list) else ():
        named += [*entry, *entry.values()] if isinstance(entry, dict) else [entry]
    for name in map(str, named):
        if HYDRAS.search(name):
            raise UsageError(f"{one_line(name, 100)}: no file of options may choose what belongs to Hydra")


def _check_defaults(group: str, package: str, entries: Any, using: tuple[Path, ...]) -> None:
    """Raises UsageError if an entry of the list `defaults` is not of a kind that Hydra knows, or names nothing."""
    if not isinstance(entries, list):
        raise UsageError(f"defaults={format_value(entries)}: must be a list, of lines such as - {CHOICE}")
    seen: list[Any] = []
    for entry in entries:
        key = next(iter(entry)) if isinstance(entry, dict) and entry else entry
        if key in seen:
            raise UsageError(f"defaults: {one_line(key, 100)} is given twice")
        seen.append(key)
        if isinstance(entry, str):
            _check_base(group, entry, using)
        elif isinstance(entry, dict) and len(entry) == 1:
            _check_choice(group, package, key, entry[key], using)
        else:
            raise UsageError(f"defaults: {format_value(entry)}: expected a name, or one choice, as {CHOICE}")


def _check_base(group: str, entry: str, using: tuple[Path, ...]) -> None:
    """Raises UsageError if an entry of `defaults` names a file that does not exist or has a mistake."""
    name = entry.partition("@")[0]
    if name == "_self_" or "$" in name:  # a name that depends on a choice
        return
    files = find_option_files("", name[1:]) if name.startswith("/") else find_option_files(group, name)
    if not files:
        known = options_of_groups().get(group, [])
        raise UsageError(f"defaults: {one_line(entry, 100)}: no such file of {group}{did_you_mean(name, known)}")
    check_option_file(files[0], group, using)


def _check_choice(group: str, package: str, key: Any, value: Any, using: tuple[Path, ...]) -> None:
    """Raises UsageError if an entry `key: value` of `defaults` chooses no option, or cannot choose one there."""
    typed = f"defaults: {one_line(key, 60)}: {one_line(value, 60)}"
    *words, last = str(key).split() or [""]
    target, known = last.lstrip("/"), options_of_groups()
    inside = f"{group}/{target}"
    for name in re.findall(r"\$\{([^}]*)\}?", f"{last} {value}"):  # a name that depends on another choice
        if name not in known:
            raise UsageError(f"{typed}: no such group as {name}, of {', '.join(known)}{did_you_mean(name, known)}")
        return
    if "@" in last and "override" not in words:
        return
    if {*words} - {"optional", "override"}:
        raise UsageError(f"{typed}: expected a name, or one choice, as {CHOICE}")
    if not last.startswith("/") and inside in known:
        check_options(inside, value, using)
    elif target not in known:
        raise UsageError(f"{typed}: no such group, of {', '.join(known)}{did_you_mean(target, known)}")
    elif "override" not in words or not last.startswith("/"):
        raise UsageError(f"{typed}: a choice is written override /{target}: {one_line(value, 60)}")
    elif target != recipes.GROUP and _group_order().index(target) >= _group_order().index(group):
        raise UsageError(f"{typed}: is chosen after {group}, so that a file of {group} cannot choose it")
    elif package != "_global_":
        raise UsageError(f"{typed}: needs '# @package _global_' as the first line of the file")
    else:
        check_options(target, value, using)


def _group_order() -> list[str]:
    """Returns the groups in the order in which `configs/train.yaml` chooses their options."""
    entries = read_option_file(config_folder() / "train.yaml")[1]["defaults"]
    return [key for entry in entries if isinstance(entry, dict) for key in entry if " " not in key]


def _check_keys(path: str, content: Mapping[Any, Any]) -> None:
    """Raises UsageError for an unknown key, for a section that is none, and for a value of an unknown kind."""
    leaves, sections = _known_keys(tuple(ENABLED))
    for name, value in content.items():
        dotted = f"{path}.{name}" if path else str(name)
        if dotted in sections and isinstance(value, dict):
            _check_keys(dotted, value)
        elif dotted in sections:
            group = dotted.replace(".", "/")
            choice = f"; an option is chosen in defaults, as override /{group}: {format_value(value)}"
            is_choice = group in options_of_groups() and isinstance(value, str)
            raise UsageError(f"{dotted}={format_value(value)}: {SECTION}{choice if is_choice else ''}")
        elif dotted not in leaves or "." in str(name):
            known = [key for key in (*leaves, *sections) if not key.endswith(".name")]
            hint = hint_for_key("train", one_line(dotted, 100), Config, known, ())
            raise UsageError(hint or f"unknown key {dotted}: in a file, its last part stands below its section")
        else:
            _check_value(dotted, value)


def _check_value(dotted: str, value: Any) -> None:
    """Raises UsageError if a value, or one in it, is no text, number, true, false or null, or refers to no key."""
    if isinstance(value, list | dict):
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            _check_value(dotted, item)
        return
    if not isinstance(value, str | int | float | None):
        raise UsageError(f"{dotted}={format_value(value)}: expected a text, a number, true, false or null")
    if not isinstance(value, str):
        return
    leaves, sections = _known_keys(tuple(ENABLED))
    for name in re.findall(r"(?<!\\)\$\{([^}]*)\}?", value):
        typed = f"{dotted}={format_value(value)}"
        if ":" in name:
            raise UsageError(f"{typed}: only keys can be interpolated, as ${{seed}}")
        if not re.fullmatch(r"\.*\w[\w.\[\]]*", name) or "${" + name + "}" not in value:
            raise UsageError(f"{typed}: cannot be read; the value of another key is written ${{seed}}")
        if name == dotted or not (name in leaves or name in sections or name[0] == "." or "[" in name):
            what = "refers to itself" if name == dotted else f"no key {name}{did_you_mean(name, leaves)}"
            raise UsageError(f"{typed}: {what}")


@lru_cache(maxsize=4)
def _known_keys(plugins: tuple[str, ...]) -> tuple[Collection[str], Collection[str]]:
    """Returns all dotted keys of all options, and all sections. `plugins` only distinguishes cache entries."""
    keys = {dotted: None for dotted, _, _ in walk(Config)}
    sections = {key[: match.start()]: None for key in keys for match in re.finditer(r"\.", key)}
    sections |= {group.replace("/", "."): None for group in _group_order() if group not in ("recipe", EXPERIMENTS)}
    return {**keys, **{f"{section}.name": None for section in sections}}, sections
