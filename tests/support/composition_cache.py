"""A cache of what Hydra parses, reads and merges.

For each command line Hydra reads and merges some twenty files. The tests compose thousands of command lines, most of
them with the same options and other values. The cache keeps each parsed override, each file of `configs/` and the
merged options; the values are applied each time. Lists of files that begin alike are merged from where they part. What
is read from other folders of options is not cached.
"""

from __future__ import annotations

import copy
import os
import pickle
from dataclasses import replace
from functools import wraps
from types import SimpleNamespace
from typing import Any

from hydra._internal import config_loader_impl, defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository
from hydra.core.default_element import ResultDefault
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from gan_cli.config.search_path import config_folder

MERGED_BEFORE = ResultDefault(config_path="what was merged before")


def keep_compositions() -> None:
    """Replaces functions of Hydra, OmegaConf and gan-cli with cached ones."""
    OverridesParser.parse_rule = _keep_parsed(OverridesParser.parse_rule)  # type: ignore[method-assign]
    OmegaConf.load = staticmethod(_keep_files(OmegaConf.load))  # type: ignore[method-assign]
    CachingConfigRepository.__init__ = _share_folders  # type: ignore[method-assign]
    ConfigRepository.load_config = _keep_loaded(ConfigRepository.load_config)  # type: ignore[method-assign]
    defaults_list._create_interpolation_map = _only_if_used(defaults_list._create_interpolation_map)
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


def _share_folders(self: CachingConfigRepository, delegate: Any) -> None:
    """Copies the list of folders alone, where Hydra copies all that a folder's object holds."""
    self.delegate = copy.copy(delegate)
    self.cache = {}


def _keep_loaded(load: Any) -> Any:
    kept: dict[str, bytes] = {}

    @wraps(load)
    def loaded(self: ConfigRepository, config_path: str) -> Any:
        if _in_other_folder(self, config_path):
            return load(self, config_path)
        if config_path not in kept:
            kept[config_path] = pickle.dumps(load(self, config_path))
        return pickle.loads(kept[config_path])  # noqa: S301

    return loaded


def _only_if_used(create: Any) -> Any:
    @wraps(create)
    def interpolation_map(overrides: Any, entries: list[Any], self_added: bool) -> Any:
        """What no entry of a list of defaults refers to need not be built."""
        return create(overrides, entries, self_added) if any(each.is_interpolation() for each in entries) else None

    return interpolation_map


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
    seen: set[tuple[str, ...]] = {()}
    kept: dict[tuple[str, ...], bytes] = {}

    def go_on(loader: Any, defaults: list[Any], repo: Any, names: tuple[str, ...]) -> Any:
        begun = next((count for count in range(len(names), 0, -1) if names[:count] in kept), 0)
        if not begun:
            return compose(loader, defaults, repo)
        before = SimpleNamespace(config=pickle.loads(kept[names[:begun]]))  # noqa: S301

        def load(default: Any, repo: Any) -> Any:
            return before if default is MERGED_BEFORE else loader._load_single_config(default=default, repo=repo)

        return compose(SimpleNamespace(_load_single_config=load), [MERGED_BEFORE, *defaults[begun:]], repo)

    @wraps(compose)
    def merged(self: ConfigLoaderImpl, defaults: list[Any], repo: Any) -> Any:
        own = next((count for count, each in enumerate(defaults) if _in_other_folder(repo, each.config_path)), None)
        names = tuple(map(repr, defaults[:own]))
        if names not in kept:
            shared = next(count for count in range(len(names), -1, -1) if names[:count] in seen)
            if shared and names[:shared] not in kept:
                kept[names[:shared]] = pickle.dumps(go_on(self, defaults[:shared], repo, names[:shared]))
            seen.update(names[:count] for count in range(len(names)))
        if own is not None:
            return go_on(self, defaults, repo, names)
        if names not in kept:
            kept[names] = pickle.dumps(go_on(self, defaults, repo, names))
        return pickle.loads(kept[names])  # noqa: S301

    return merged


def _in_other_folder(repo: Any, config_path: str | None) -> bool:
    own = _own_sources()
    others = [source for source in repo.get_sources() if _name(source) not in own]
    return any(source.is_config(config_path) for source in others)


def _sources(repo: Any) -> tuple[str, ...] | None:
    """Returns the folders that Hydra reads, or None if one of them holds other options than those of gan-cli."""
    sources = tuple(_name(source) for source in repo.get_sources())
    return sources if _own_sources() >= set(sources) else None


def _own_sources() -> set[str]:
    return {f"file://{config_folder()}", "pkg://hydra.conf", "structured://"}


def _name(source: Any) -> str:
    return f"{source.scheme()}://{source.path}"
