"""Reads the YAML files of options."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf._utils import get_yaml_loader

from gan_cli.errors import StorageError, UsageError, one_line

_omegaconf: Any = get_yaml_loader()


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads YAML as OmegaConf does, with `1e-4` as a number and dates as text, but in C if PyYAML has that."""

    yaml_implicit_resolvers = _omegaconf.yaml_implicit_resolvers

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key.value} stands there twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def read_option_file(path: Path) -> tuple[str, dict[str, Any]]:
    """Returns the package in the header of an option's file, or an empty text, and the file's keys and values.

    Raises UsageError if the file is no YAML or holds no keys and values. Callers must not change the result.
    """
    try:
        return _read(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror})") from error


@lru_cache(maxsize=256)
def _read(path: Path, modified: int) -> tuple[str, dict[str, Any]]:
    """Does the same as `read_option_file`. `modified` only distinguishes cache entries."""
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        content = _Loader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line if error.problem_mark else 0
        tab = "\t" in "".join(text.splitlines()[line : line + 1])
        problem = str(error.problem or error.context).replace("could not determine a constructor for the tag", "no tag")
        problem = "has a tab; indent by spaces" if tab else one_line(problem, 200)
        raise UsageError(f"{path}, line {line + 1}: is no YAML ({problem})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: is no YAML ({one_line(getattr(error, 'reason', error), 200)})") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: has a number of thousands of digits, or lists in lists deeper than any") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected keys and values, as steps: 1000")
    if wrong := re.match(r"(?:\s*#\s*@\S+ +\S+ *\n)*\s*(#\s*@(?!\S+ +\S+ *(?:\n|$)).*)", text):
        raise UsageError(f"{path}: {one_line(wrong[1], 80)}: of @ lines, '# @package _global_' alone may stand there")
    header = re.match(r"(?:\s*#\s*@.*\n)*?\s*#\s*@package +(\S+)", text)  # Hydra finds it nowhere else
    return header[1] if header else "", content
