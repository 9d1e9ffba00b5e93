"""Quotes, parses and checks one override `key=value`. Quoting protects paths and texts from Hydra's grammar."""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING, Any

from gan_cli.config.suggestions import URL_HINT, hint_for_argument, is_url
from gan_cli.errors import UsageError, one_line

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

# Keys whose value is a path.
PATH_KEYS = (
    "ckpt", "resume", "out", "output", "init_from", "replay", "real", "fake", "data", "input", "mask", "latents",
    "direction", "dataset.root", "dataset.path", "dataset.test_path", "dataset.labels", "dataset.cache",
)  # fmt: skip
PATH_LIST_KEY = "dataset.path"  # the value may be a list of paths
SHARD_KEYS = (PATH_LIST_KEY, "dataset.test_path", "data")  # the value may be a list, or addresses of shards
# Keys whose value is taken literally, even if it has a meaning in Hydra's grammar.
LITERAL_KEYS = (
    *PATH_KEYS, "name", "seeds", "label", "by", "strength", "rows", "columns", "layers", "dataset.background",
    "dataset.labels_file_column",
)  # fmt: skip


def quote_literals(argument: str) -> str:
    """Returns `key=value`, quoted for Hydra if the value is literal or a list of names, and with `~` expanded."""
    key, equals, value = argument.partition("=")
    if key in ("dataset.classes", "dataset.labels_columns"):
        return f"{key}={_quote_items(value)}"
    if key == PATH_LIST_KEY and value.startswith("["):
        from gan_cli.image_labels.image_paths import split_paths

        if (paths := split_paths(value)) != (value,):
            return f"{key}=[{','.join(quote_for_hydra(os.path.expanduser(path)) for path in paths)}]"
    if not equals or key not in LITERAL_KEYS or (value == "null" and key != "ckpt"):
        return argument
    if key in PATH_KEYS and value.startswith("~"):
        value = os.path.expanduser(value)  # expanduser leaves `~name` unchanged if there is no such user
    return f"{key}={quote_for_hydra(value)}"


def _quote_items(value: str) -> str:
    """Returns a name, or a list of names, with each name quoted. Several lists are a sweep and stay unchanged."""
    from gan_cli.image_labels.image_paths import split_names

    listed = value.startswith("[") and value.endswith("]")
    try:
        items = split_names(value[1:-1] if listed else value)
    except ValueError:
        return value  # Hydra will read or refuse the value
    if listed:
        return value if re.search(r"\]\s*,\s*\[", value) else f"[{','.join(map(quote_for_hydra, items))}]"
    is_name = len(items) == 1 and value != "null" and not re.search(r"[\[\]{}]", value)
    return quote_for_hydra(items[0]) if is_name else value


def unquote_literals(argument: str) -> str:
    """Returns an override as a user would type it. This is the inverse of `quote_literals`."""
    override = read_override(argument)
    value = override_value(override)
    if override.key_or_group == PATH_LIST_KEY and isinstance(value, list):
        from gan_cli.image_labels.image_paths import format_path_list

        return f"{PATH_LIST_KEY}={format_path_list(value)}"
    if override.key_or_group not in LITERAL_KEYS or not isinstance(value, str):
        return argument
    return f"{override.key_or_group}={value}"


def override_value(override: Override) -> Any:
    """Returns the value of an override. Each `${` that `quote_for_hydra` escaped is restored."""
    value = override.value()
    if not isinstance(value, str):
        return value
    return re.sub(r"(\\*)\\\$\{", lambda match: match[1][: len(match[1]) // 2] + "${", value)


def quote_for_hydra(text: str) -> str:
    """Returns `text` as a quoted string in Hydra's grammar, in which Hydra interpolates nothing."""
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)  # escapes interpolations
    text = re.sub(r"(\\+)(?='|$)", r"\1\1", text)
    return "'" + text.replace("'", "\\'") + "'"


def read_override(argument: str) -> Override:
    """Returns `key=value` parsed by Hydra's grammar. Raises UsageError if the argument cannot be parsed."""
    if argument.startswith("-"):
        word = argument.lstrip("-")
        raise UsageError(
            f"unknown flag {argument}: keys are written key=value, as {word.partition('=')[0]}=...; see --help"
        )
    if argument.find("=") < 1 and not argument.startswith("~"):
        raise UsageError(f"{argument}: expected key=value{hint_for_argument(argument)}; see --help")
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(argument)
    except (HydraException, ValueError) as error:
        raise UsageError(f"{one_line(argument, 100)}: cannot be read as key=value{_reason(argument)}") from error


def _reason(argument: str) -> str:
    """Returns `: ...`, why Hydra's grammar refuses an argument: an open bracket or quote, or a special character."""
    key, _, value = argument.partition("=")
    plain = re.sub(r"\\.|'[^']*'|\"[^\"]*\"", "", value)  # without what is quoted
    for opening, closing in ("[]", "{}", "()", "''", '""'):
        if plain.count(opening) > plain.count(closing) or (opening == closing and plain.count(opening) % 2):
            return f": {opening} is never closed by {closing}"
    special = re.search(r"[]=()[{}:,'\"#&!*|<>;`]", plain)
    if special is None or re.search(r"['\"]", value):
        return "; put a value with special characters in quotes"
    return f": {special[0]} has a meaning of its own, quote the value, as \"{key}='{one_line(value, 100)}'\""


def _is_shard(key: str, value: str) -> bool:
    """Returns whether the value is an address that `dataset=webdataset` downloads from."""
    return key in SHARD_KEYS and value.startswith(("http://", "https://")) and value.partition("?")[0].endswith(".tar")


def check_override(override: Override, options: dict[str, list[str]]) -> None:
    """Raises UsageError if Hydra would accept the override but gan-cli, with these options of groups, does not."""
    key = override.key_or_group
    if override.is_add() or override.is_force_add() or override.is_delete():
        raise UsageError(f"{override.input_line}: keys are neither added nor deleted, only set; write {key}=...")
    if override.package is not None:
        raise UsageError(f"{override.input_line}: packages are set by configs/, write {key}=...")
    if key.endswith(".name"):
        group = key.removesuffix(".name").replace(".", "/")
        raise UsageError(f"{override.input_line}: an option is chosen by {group}=...")
    if key in PATH_KEYS and isinstance(value := override.value(), str) and is_url(value) and not _is_shard(key, value):
        raise UsageError(f"{key}={one_line(value, 200)}: {URL_HINT.format(key)}")
    if override.value() in (math.inf, -math.inf) and "inf" not in str(override.input_line).lower():
        raise UsageError(f"{override.input_line}: is too large, expected a finite number")
    value = override_value(override) if key in PATH_KEYS and key not in SHARD_KEYS else None
    if isinstance(value, str) and re.fullmatch(r"\{.*:.*\}|\[.*,.*\]", value) and not os.path.lexists(value):
        raise UsageError(f"{key}={one_line(value, 200)}: expected one path, not a list or a mapping")
    if key in options:
        from gan_cli.config.option_files import check_options

        check_options(key, override.value())
