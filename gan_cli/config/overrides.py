"""One override as a person types it: read by Hydra's grammar, which is kept away from paths; what may not be said."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from gan_cli.config.hints import FETCH, for_option, for_word, is_address
from gan_cli.config.schema import shown
from gan_cli.config.search_path import EXPERIMENTS, HERE, config_folder, named_folder, option_files
from gan_cli.errors import StorageError, UsageError, closest, one_line
from gan_cli.image_files.name_lists import split_names
from gan_cli.image_labels.several import paths_of

# Keys whose value is a path or a text of the user's: taken literally, whatever Hydra's grammar would make of it.
PATH_KEYS = (
    "ckpt", "resume", "out", "output", "init_from", "replay", "real", "fake", "data",
    "dataset.root", "dataset.path", "dataset.labels", "dataset.cache",
)  # fmt: skip
SEVERAL = "dataset.path"  # which may be a list of paths
LITERAL_KEYS = (*PATH_KEYS, "name", "seeds", "label", "dataset.background", "dataset.labels_file_column")
# Groups of which no option need be chosen.
MOST_NODES = 10_000  # in one file
OPTIONAL_GROUPS = ("experiment", "optimizer/generator", "optimizer/discriminator")


def quote_literals(argument: str) -> str:
    """`key=value` with the value quoted for Hydra if the key takes it literally; `~` is expanded in paths."""
    key, equals, value = argument.partition("=")
    if key in ("dataset.classes", "dataset.labels_columns"):
        return f"{key}={_quote_items(value)}"
    if key == SEVERAL and value.startswith("[") and paths_of(value) != (value,):
        return f"{key}=[{','.join(quote(os.path.expanduser(path)) for path in paths_of(value))}]"
    if not equals or key not in LITERAL_KEYS or (value == "null" and key != "ckpt"):
        return argument
    if key in PATH_KEYS and value.startswith("~"):
        value = os.path.expanduser(value)  # a user nobody knows is left as it is
    return f"{key}={quote(value)}"


def typed_paths(paths: Sequence[str]) -> str:
    """Several paths as a person types them."""
    return f"[{','.join(map(_in_quotes, paths))}]"


def _in_quotes(path: str) -> str:
    """As a person types one of several paths: in quotes where it has a letter that would part it."""
    mark = '"' if "'" in path else "'"
    return f"{mark}{path}{mark}" if set(path) & set(",[]'\"") or path != path.strip() else path


def _quote_items(value: str) -> str:
    """A list of names, or one name, with each one quoted; several lists, which are a sweep, as they are."""
    listed = value.startswith("[") and value.endswith("]")
    try:
        items = split_names(value[1:-1] if listed else value)
    except ValueError:
        return value  # as Hydra reads it, or refuses it
    if listed:
        return value if re.search(r"\]\s*,\s*\[", value) else "[" + ",".join(map(quote, items)) + "]"
    return quote(items[0]) if len(items) == 1 and value != "null" and not re.search(r"[\[\]{}]", value) else value


def as_typed(argument: str) -> str:
    """An override of Hydra's as a person types it: the inverse of `quote_literals`."""
    override = read_override(argument)
    value = value_of(override)
    if override.key_or_group == SEVERAL and isinstance(value, list):
        return f"{SEVERAL}={typed_paths(value)}"
    if override.key_or_group not in LITERAL_KEYS or not isinstance(value, str):
        return argument
    return f"{override.key_or_group}={value}"


def value_of(override: Override) -> Any:
    """The value as it is meant: a text that `quote` kept from being an interpolation is one again."""
    value = override.value()
    if not isinstance(value, str):
        return value
    return re.sub(r"(\\*)\\\$\{", lambda match: match[1][: len(match[1]) // 2] + "${", value)


def quote(text: str) -> str:
    """`text` as a quoted string of Hydra's grammar that means just this text."""
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)  # no interpolation
    text = re.sub(r"(\\+)(?='|$)", r"\1\1", text)
    return "'" + text.replace("'", "\\'") + "'"


def read_override(argument: str) -> Override:
    if argument.startswith("-"):
        word = argument.lstrip("-")
        raise UsageError(
            f"unknown flag {argument}: keys are written key=value, as {word.partition('=')[0]}=...; see --help"
        )
    if argument.find("=") < 1 and not argument.startswith("~"):
        raise UsageError(f"{argument}: expected key=value{for_word(argument)}; see --help")
    try:
        return OverridesParser.create().parse_override(argument)
    except (HydraException, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"{one_line(argument, 100)}: cannot be read as key=value ({one_line(reason, 200)}); quote special letters"
        ) from error


def check_override(override: Override, options: dict[str, list[str]]) -> None:
    key = override.key_or_group
    if override.is_add() or override.is_force_add() or override.is_delete():
        raise UsageError(f"{override.input_line}: keys are neither added nor deleted, only set; write {key}=...")
    if override.package is not None:
        raise UsageError(f"{override.input_line}: packages are set by configs/, write {key}=...")
    if key.endswith(".name"):
        raise UsageError(
            f"{override.input_line}: an option is chosen by {key.removesuffix('.name').replace('.', '/')}=..."
        )
    if key in PATH_KEYS and isinstance(value := override.value(), str) and is_address(value):
        raise UsageError(f"{key}={one_line(value, 200)}: {FETCH.format(key)}")
    if key in options:
        _check_option(key, override.value(), options[key])


def _check_option(group: str, value: Any, known: list[str]) -> None:
    chosen = value if isinstance(value, list) else [value]
    for text in chosen:
        nothing = text is None and group in OPTIONAL_GROUPS
        if not nothing and text not in known:
            hint = for_option(group, text) or closest(str(text), known)
            raise UsageError(f"{group}={shown(text)}: expected one of {', '.join(known)}{hint}")
        files = option_files(group, str(text))
        for path in files[1:]:
            if path.is_relative_to(Path(HERE).resolve()) and not path.is_relative_to(named_folder() or files[0]):
                _tell_unused(path, files[0])
            else:
                raise UsageError(f"{group}={text}: {path} has the name of an option that is there already, rename it")
        if files and not files[0].is_relative_to(config_folder()):
            _check_own(files[0], group)
    if isinstance(value, list) and group != "regularizer":
        raise UsageError(f"{group}={shown(value)}: takes one option, of {', '.join(known)}")
    if len(set(chosen)) < len(chosen) or ("none" in chosen and len(chosen) > 1):
        raise UsageError(f"{group}=[{','.join(chosen)}]: name each once, and none alone")


@cache
def _tell_unused(path: Path, taken: Path) -> None:
    """Once: a folder named configs/ may be another project's, or a checkout of this one."""
    if path.read_bytes() != taken.read_bytes():
        print(f"warning: {path} is not used, gan-cli has an option of this name; rename it to use it", flush=True)


def _check_own(path: Path, group: str) -> None:
    """UsageError for a person's file that is no section of keys, or would not be read as they mean it."""
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: is no YAML ({one_line(error, 200)})") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror})") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected keys and values, as steps: 1000")
    if group == EXPERIMENTS and not re.match(r"(\s*#[^\n]*\n)*?\s*#\s*@package\s+_global_", text):
        raise UsageError(f"{path}: its first line must be '# @package _global_'")
    if _count_nodes(content, MOST_NODES) > MOST_NODES:
        raise UsageError(f"{path}: more than {MOST_NODES:,} values")


def _count_nodes(content: Any, limit: int) -> int:
    """Values in nested lists and sections, each alias counted as what it stands for; no further than `limit`."""
    inner = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    count = 1
    for item in inner:
        if count > limit:
            break
        count += _count_nodes(item, limit - count)
    return count
