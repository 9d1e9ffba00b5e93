"""A cache of what Hydra parses, reads and merges.

For each command line Hydra reads and merges some twenty files. The tests compose thousands of command lines, most of
them with the same options and other values. The cache keeps each parsed override, each file of `configs/` and the
merged options; the values are applied each time. What is read from other folders of options is not cached.
"""

from __future__ import annotations

import copy
import os
import pickle
from dataclasses import replace
from functools import wraps
from typing import Any

from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from gan_cli.config.search_path import config_folder


def keep_compositions() -> None:
    """Replaces four functions of Hydra and OmegaConf with cached ones."""
    OverridesParser.parse_rule = _keep_parsed(OverridesParser.parse_rule)  # type: ignore[method-assign]
    OmegaConf.load = staticmethod(_keep_files(OmegaConf.load))  # type: ignore[method-assign]
    config_loader_impl.create_defaults_list = _keep_defaults(config_loader_impl.create_defaults_list)
    ConfigLoaderImpl._compose_config_from_defaults_list = _keep_merged(  # type: ignore[method-assign]
        ConfigLoaderImpl._compose_config_from_defaults_list
    )


def _keep_parsed(parse: Any) -> Any:
    kept: dict[tuple[str, str], Override] = {}

    @wraps(parse)
    def parsed(self: OverridesParser, text: str, rule: str) -> Any:
        if (text, rule) not in kept:
            result = parse(self, text, rule)
            if not isinstance(result, Override):
                return result
            kept[text, rule] = result
        return copy.copy(kept[text, rule])

    return parsed


def _keep_files(load: Any) -> Any:
    kept: dict[str, bytes] = {}

    @wraps(load)
    def loaded(file: Any) -> Any:
        path = str(getattr(file, "name", file))
        if not path.startswith(f"{config_folder()}{os.sep}"):
            return load(file)
        if path not in kept:
            kept[path] = pickle.dumps(load(file))
        return pickle.loads(kept[path])  # noqa: S301

    return loaded


def _keep_defaults(create: Any) -> Any:
    kept: dict[Any, Any] = {}

    @wraps(create)
    def defaults_list(repo: Any, config_name: str, overrides_list: list[Override], **options: bool) -> Any:
        sources = _sources(repo)
        if sources is None:
            return create(repo, config_name, overrides_list, **options)
        single = [override for override in overrides_list if not override.is_sweep_override()]
        choices = [
            each for each in single if repo.group_exists(each.key_or_group) and not isinstance(each.value(), dict)
        ]
        values = [override for override in single if override not in choices]
        key = (sources, config_name, *options.items(), *(override.input_line for override in choices))
        if key not in kept:
            kept[key] = create(repo, config_name, choices, **options)
        return replace(kept[key], config_overrides=values)

    return defaults_list


def _keep_merged(compose: Any) -> Any:
    kept: dict[Any, bytes] = {}

    @wraps(compose)
    def merged(self: ConfigLoaderImpl, defaults: list[Any], repo: Any) -> Any:
        sources = _sources(repo)
        if sources is None:
            return compose(self, defaults, repo)
        key = (sources, repr(defaults))
        if key not in kept:
            kept[key] = pickle.dumps(compose(self, defaults, repo))
        return pickle.loads(kept[key])  # noqa: S301

    return merged


def _sources(repo: Any) -> tuple[str, ...] | None:
    """Returns the folders that Hydra reads, or None if one of them holds other options than those of gan-cli."""
    sources = tuple(f"{source.scheme()}://{source.path}" for source in repo.get_sources())
    own = {f"file://{config_folder()}", "pkg://hydra.conf", "structured://"}
    return sources if own >= set(sources) else None
