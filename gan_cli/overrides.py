"""One override as a person types it: read by Hydra's grammar, which is kept away from paths; what may not be said."""

from __future__ import annotations

import os
import re
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from gan_cli.errors import UsageError, closest, one_line
from gan_cli.searchpath import option_files

# Keys whose value is a path or a text of the user's: taken literally, whatever Hydra's grammar would make of it.
PATH_KEYS = ("ckpt", "resume", "out", "output", "init_from", "dataset.root", "dataset.path")
LITERAL_KEYS = (*PATH_KEYS, "name", "seeds", "dataset.background")
# Groups of which no option need be chosen.
OPTIONAL_GROUPS = ("experiment", "optimizer/generator", "optimizer/discriminator")


def quote_literals(argument: str) -> str:
    """`key=value` with the value quoted for Hydra if the key takes it literally; `~` is expanded in paths."""
    key, equals, value = argument.partition("=")
    if not equals or key not in LITERAL_KEYS or (value == "null" and key != "ckpt"):
        return argument
    if key in PATH_KEYS and value.startswith("~"):
        value = os.path.expanduser(value)  # a user nobody knows is left as it is
    return f"{key}={quote(value)}"


def as_typed(argument: str) -> str:
    """An override of Hydra's as a person types it: the inverse of `quote_literals`."""
    override = read_override(argument)
    value = override.value()
    if override.key_or_group not in LITERAL_KEYS or not isinstance(value, str):
        return argument
    return f"{override.key_or_group}=" + re.sub(
        r"(\\*)\\\$\{", lambda match: match[1][: len(match[1]) // 2] + "${", value
    )


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
        raise UsageError(f"{argument}: expected key=value; see --help")
    try:
        return OverridesParser.create().parse_override(argument)
    except (HydraException, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"{argument}: cannot be read as key=value ({one_line(reason)}); quote special letters"
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
    if key in options:
        _check_option(key, override.value(), options[key])


def _check_option(group: str, value: Any, known: list[str]) -> None:
    chosen = value if isinstance(value, list) else [value]
    for text in chosen:
        nothing = text is None and group in OPTIONAL_GROUPS
        if not nothing and text not in known:
            raise UsageError(f"{group}={text}: expected one of {', '.join(known)}{closest(str(text), known)}")
        files = option_files(group, str(text))
        if len(files) > 1:
            raise UsageError(f"{group}={text}: {files[1]} has the name of an option that is there already, rename it")
    if isinstance(value, list) and group != "regularizer":
        raise UsageError(f"{group}={value}: takes one option, of {', '.join(known)}")
    if len(set(chosen)) < len(chosen) or ("none" in chosen and len(chosen) > 1):
        raise UsageError(f"{group}=[{','.join(chosen)}]: name each once, and none alone")
